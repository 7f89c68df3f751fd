"""Files written whole, their digests, and the error that a user can put right."""

import contextlib
import errno
import hashlib
import json
import os
import stat


class UserError(ValueError):
    """Something only the user can put right; a script shows it as one `error:` line.

    The message reads `<where>: want <what>, got <what>; <what to do>`, or says what is missing.
    """


def first_line(error):
    """Return the first line of an exception's message, or its type's name if it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def what_is_wrong(error):
    """Return what an exception of reading JSON says, for a message."""
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return first_line(error)


# What lies in a file's place where it was not fetched, by how it begins, in small letters.
PLACEHOLDERS = {
    b"version https://git-lfs": "a Git LFS pointer, not the file; fetch the file with git lfs pull",
    b"<!doctype html": "a web page, not the file; download the file itself, with a browser perhaps",
    b"<html": "a web page, not the file; download the file itself, with a browser perhaps",
}


def remedy_of(error):
    """Return what to do about an error of the file system."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return "a file is where a folder is wanted: move it away, or give another folder"
    if error.errno == errno.EROFS:
        return (
            "give another folder; of read-only data, one of links (mkdir own; ln -s FOLDER/* own)"
        )
    if not isinstance(error, FileNotFoundError):
        return "check the path and the free space"
    for folder, option in (("pretrained_models", "--weights"), ("predictions", "--predictions")):
        if os.path.basename(os.path.dirname(str(error.filename))) == folder:
            fetch = f"prepare_data.py download {option}"
            return f"check the path, or fetch what is published: {fetch}"
    return "check the path"


def refuse_placeholder(path):
    """Raise UserError if a file is what was downloaded in place of what it is called."""
    if not stat.S_ISREG(os.stat(path).st_mode):  # a folder; or a pipe, which is read only once
        return
    with open(path, "rb") as file:
        start = file.read(64).lstrip().lower()
    for beginning, text in PLACEHOLDERS.items():
        if start.startswith(beginning):
            raise UserError(f"{path}: this is {text}")


@contextlib.contextmanager
def write_whole(path, mode="wb"):
    """Open `path` for writing so that it is there complete or not at all.

    What is written goes to `path.tmp`, which takes the name `path` once it is on the disk. After an
    exception, a full disk among them, `path` is what it was before and `path.tmp` is gone.

    Args:
        path: the file to write; its folder is made if need be.
        mode: `"wb"`, or `"w"` for UTF-8 text.

    Yields:
        The open file.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    partial = f"{path}.tmp"
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(partial, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk is reported without a name
        raise


def write_json(path, content):
    """Write a dict as JSON, whole."""
    with write_whole(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def read_json(path):
    """Return the dict that a JSON file holds; {} where none can be read."""
    unreadable = (OSError, ValueError, RecursionError)
    with contextlib.suppress(*unreadable), open(path, encoding="utf-8") as file:
        content = json.load(file)
        return content if isinstance(content, dict) else {}
    return {}


def file_facts(path):
    """Return what tells a file from others, for JSON: its path and its SHA-256."""
    return {"path": path, "sha256": sha256(path)}


def file_digest(path, kind):
    """Return a file's digest in hex: "sha256", "md5" or "git", git's blob id."""
    hasher = hashlib.sha1() if kind == "git" else hashlib.new(kind)
    if kind == "git":
        hasher.update(b"blob %d\0" % os.path.getsize(path))
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    return hasher.hexdigest()


def sha256(path):
    """Return the SHA-256 of a file as 64 hex digits."""
    return file_digest(path, "sha256")
