"""Fetching a file over HTTP: a transfer that breaks goes on; a wrong file is kept aside."""

import contextlib
import gzip
import http.client
import os
import shutil
import socket
import sys
import time
import urllib.error
import urllib.request

from runtime.files import UserError, file_digest, first_line, write_whole
from runtime.progress import progress_bar

ATTEMPTS = 8  # in a row without a new byte
ATTEMPTS_UNRESOLVED = 3  # where the server's name means no address, before the first byte
LONGEST_WAIT = 60  # seconds between two attempts
TIMEOUT = 60  # seconds without a byte


class NotFetched(UserError):
    """A file cannot be had: there is none at the address, or no server answers."""


def content_length(url):
    """Return the size that a server states for a file, bytes, or None."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError, http.client.HTTPException):
        return None


def fetch(url, path, digest=None, verify=True, wait=1.0, check=None):
    """Fetch a file, or go on where an earlier attempt was cut off.

    What has been received is in `path.part`, which takes the name `path` once its digest is right.

    Args:
        url: http or https.
        path: where to put the file; one that is there stays.
        digest: (kind, hex): kind is "sha256", "md5" or "git", git's blob id; of the file, or of
            its content if `url` ends in `.gz` and `path` does not: that is unpacked.
        verify: False takes a file with another digest, with a warning.
        wait: seconds before the second attempt; it doubles.
        check: called with the path of what came; its ValueError says that it is another file.

    Raises:
        NotFetched: no such file, or no answer after many attempts.
        UserError: another digest: the file is kept as `path.wrong`.
    """
    if os.path.exists(path):
        print(f"{path} is there")
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    part = f"{path}.part"
    _receive(url, part, wait)
    if url.endswith(".gz") and not path.endswith(".gz"):
        _unpack(part)
    _check(part, path, digest, verify, check)
    os.replace(part, path)


def _receive(url, part, wait):
    """Complete `part`, in as many attempts as bring something and `ATTEMPTS` that do not."""
    name, failures = os.path.basename(part.removesuffix(".part")), 0
    while True:
        before, attempts = _size(part), ATTEMPTS
        try:
            return _transfer(url, part)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing lies beyond: it was all there
                return
            if error.code < 500 and error.code not in (408, 429):
                raise NotFetched(
                    f"{url}: want {name}, got HTTP {error.code}; "
                    "check the address, or give a mirror with --mirror"
                ) from None
            problem = f"HTTP {error.code}"
            with contextlib.suppress(TypeError, ValueError):
                time.sleep(min(LONGEST_WAIT, float(error.headers["Retry-After"])))
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename:  # the disk, not the network
                raise
            reason = getattr(error, "reason", error)  # of an URLError
            problem = getattr(reason, "strerror", None) or first_line(reason)
            if isinstance(reason, socket.gaierror) and not before:
                attempts = ATTEMPTS_UNRESOLVED
        failures = 0 if _size(part) > before else failures + 1
        if failures >= attempts:
            raise NotFetched(
                f"{url}: nothing came in {failures} attempts ({problem}); run the same command "
                "again to go on from there, or give a mirror with --mirror: docs/data.md has "
                f"the names of the files that it needs, such as {name}"
            )
        pause = min(LONGEST_WAIT, wait * 2 ** max(0, failures - 1))
        print(
            f"{name}: {problem}; attempt {failures + 1} of {attempts} in {pause:.0f} s",
            file=sys.stderr,
        )
        time.sleep(pause)


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _transfer(url, part):
    """Append what is missing of a file to `part`."""
    have = _size(part)
    headers = {"Range": f"bytes={have}-"} if have else {}
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        start = f"bytes {have}-"
        goes_on = answer.status == 206 and answer.headers["Content-Range"].startswith(start)
        length = answer.headers["Content-Length"]
        total = (have if goes_on else 0) + int(length) if length else None
        name = os.path.basename(part.removesuffix(".part"))
        with (
            open(part, "ab" if goes_on else "wb") as file,
            progress_bar(
                total=total, initial=file.tell(), unit="B", unit_scale=True, desc=name
            ) as bar,
        ):
            while chunk := answer.read(1 << 18):
                file.write(chunk)
                bar.update(len(chunk))
            got = file.tell()
    if total is not None and got < total:
        raise http.client.IncompleteRead(b"", total - got)


def _unpack(part):
    """Replace a gzip file by its content."""
    try:
        with gzip.open(part) as packed, write_whole(part) as file:
            shutil.copyfileobj(packed, file)
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        os.replace(part, f"{part}.wrong")
        raise UserError(
            f"{part}.wrong: not a complete gzip file; look at it, and run the same command again"
        ) from None


def _check(part, path, digest, verify, check):
    """Move a file of another digest or content aside, or warn of it."""
    problem = ""
    if digest is not None:
        kind, wanted = digest
        got = file_digest(part, kind)
        problem = "" if got == wanted else f"want {kind} {wanted}, got {got}"
    if check is not None:
        try:
            check(part)
        except ValueError as error:
            problem = first_line(error)
    if not problem:
        return
    if not verify:
        print(f"warning: {path}: {problem}; taken, as --no-verify asks")
        return
    os.replace(part, f"{path}.wrong")
    raise UserError(
        f"{path}.wrong: {problem}; run the same command to fetch it again, "
        "or with --no-verify if its publisher has changed it"
    )
