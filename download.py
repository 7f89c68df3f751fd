"""What ChestX-ray14 and its checkpoints consist of, and fetching them over HTTP.

A transfer that breaks goes on where it stood; a file with a wrong digest is kept aside.
"""

import contextlib
import gzip
import hashlib
import http.client
import os
import re
import shutil
import tarfile
import time
import urllib.error
import urllib.request
import zlib

from tqdm import tqdm

from files import UserError, first_line, write_whole

# NIH's archives: links of its own download script, MD5 as sunlabuiuc/PyHealth gives them.
NIH = "https://nihcc.box.com/shared/static/"
ARCHIVES = {
    "images_001": ("vfk49d74nhbxq3nqjg0900w5nvkorp5c", "fe8ed0a6961412fddcbb3603c11b3698"),
    "images_002": ("i28rlmbvmfjbl8p2n3ril0pptcmcu9d1", "ab07a2d7cbe6f65ddd97b4ed7bde10bf"),
    "images_003": ("f1t00wrtdk94satdfb9olcolqx20z2jp", "2301d03bde4c246388bad3876965d574"),
    "images_004": ("0aowwzs5lhjrceb3qp67ahp0rd1l1etg", "9f1b7f5aae01b13f4bc8e2c44a4b8ef6"),
    "images_005": ("v5e3goj22zr6h8tzualxfsqlqaygfbsn", "1861f3cd0ef7734df8104f2b0309023b"),
    "images_006": ("asi7ikud9jwnkrnkj99jnpfkjdes7l6l", "456b53a8b351afd92a35bc41444c58c8"),
    "images_007": ("jn1b4mw4n6lnh74ovmcjb8y48h8xj07n", "1075121ea20a137b87f290d6a4a5965e"),
    "images_008": ("tvpxmn7qyrgl0w8wfh9kqfjskv6nmm1j", "b61f34cec3aa69f295fbb593cbd9d443"),
    "images_009": ("upyy3ml7qdumlgk2rfcvlb9k6gvqq2pj", "442a3caa61ae9b64e61c561294d1e183"),
    "images_010": ("l6nilvfa9cg3s28tqv1qc1olm3gnz54p", "09ec81c4c31e32858ad8cf965c494b74"),
    "images_011": ("hhq8fkdgvcari67vfhs7ppg2w6ni4jze", "499aefc67207a5a97692424cf5dbeed5"),
    "images_012": ("ioqwiy20ihqwyr8pf4c24eazhh281pbu", "dc9fda1757c2de0032b63347a7d2895c"),
}
ARCHIVE_SIZE = 4.3e9  # bytes, about; where a server does not say
ARNOWENG = "https://github.com/arnoweng/CheXNet/raw/3d45ee77e2cfe6ec81bf1b87e2ed4e3fc10af6c1/"
PADDLE_CHEXNET = (
    "https://github.com/jm12138/Paddle-CheXNet/raw/a1859d0e9a3e372c0ef6b1e2631e0ea3e8cd02ac/"
)
XRAYVISION = "https://github.com/mlmed/torchxrayvision/raw/"
# file: (address, digest of the file as it is kept here)
LABELS = {
    "train_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/train_list.txt",
        ("sha256", "332d49fb9b7a380bd25c1a54de7544ab422bdc37142459e273298a8ea2ea5c03"),
    ),
    "val_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/val_list.txt",
        ("sha256", "ef239d3493893aba431c39a9aa5c57e9bc3c04cdd3df505e0754dece04cb31da"),
    ),
    "test_list.txt": (
        ARNOWENG + "ChestX-ray14/labels/test_list.txt",
        ("sha256", "4333f58bed6d26bd974d825f6ee78a48ce7f81985803c145b3e13ae0c1d8f927"),
    ),
    "Data_Entry_2017_v2020.csv": (
        XRAYVISION + "8ef884614164d54e2660947241ab0276b29526e9/"
        "torchxrayvision/data/Data_Entry_2017_v2020.csv.gz",
        ("sha256", "dc1d2df67fdc1c5a7601d48699cda2b13dc2c4841488b4183dcf04884dbaca11"),
    ),
    "BBox_List_2017.csv": (
        XRAYVISION + "f33bf84c37de6e59c1ea23a03bb7034827cc6412/"
        "torchxrayvision/BBox_List_2017.csv.gz",
        ("sha256", "0bbfea9d4c4e9771481b3023b1bc9f0df9dea924453b12986beb29b0c4d0c95b"),
    ),
}
WEIGHTS = {
    "model.pth.tar": (
        ARNOWENG + "model.pth.tar",
        ("git", "14922ae7de18767793f6ac85cf51df950327d96c"),
    ),
    "paddle_chexnet_model_torch.pdparams": (
        PADDLE_CHEXNET + "pretrained_models/model_torch.pdparams",
        ("git", "3d5512c5a1f2cc486be30f1931408ddbffd4d5bb"),
    ),
    "paddle_chexnet_model_paddle.pdparams": (
        PADDLE_CHEXNET + "pretrained_models/model_paddle.pdparams",
        ("git", "157762232cedb82c18ed4a1347b94a87fc323b5a"),
    ),
}

# Its path in an archive.
FILM = re.compile(r"(\./)?([\w-]+/)*[\w.-]+\.png")

ATTEMPTS = 8  # in a row without a new byte
LONGEST_WAIT = 60  # seconds between two attempts
TIMEOUT = 60  # seconds without a byte


def download(data_dir, weights_dir=None, films=True, url_base=None, verify=True):
    """Fetch what is missing of ChestX-ray14.

    Args:
        data_dir: gets `labels/` and `images_001/images/` to `images_012/images/`.
        weights_dir: gets the published checkpoints; None: none of them.
        films: False leaves out the films.
        url_base: address of a mirror with all files by name; None: where they were published.
        verify: False takes files with another digest.

    Raises:
        UserError: a file cannot be had, or the disk is too small for the films.
    """

    def address(url, name):
        return f"{url_base.rstrip('/')}/{name}" if url_base else url

    wanted = [(os.path.join(data_dir, "labels"), LABELS)]
    if weights_dir:
        wanted.append((weights_dir, WEIGHTS))
    for folder, files in wanted:
        for name, (url, digest) in files.items():
            packed = ".gz" if url.endswith(".csv.gz") else ""
            fetch(address(url, name + packed), os.path.join(folder, name), digest, verify)
    missing = {
        name: address(f"{NIH}{link}.gz", f"{name}.tar.gz")
        for name, (link, _) in ARCHIVES.items()
        if not os.path.isdir(os.path.join(data_dir, name))
    }
    if not films or not missing:
        return
    sizes = [content_length(url) or ARCHIVE_SIZE for url in missing.values()]
    # Films do not compress: unpacked they take what their archive takes, and one archive at a
    # time lies beside its films.
    need, free = 1.02 * sum(sizes) + max(sizes), shutil.disk_usage(data_dir).free
    print(f"{len(missing)} archives, {sum(sizes) / 1e9:.1f} GB; needs {need / 1e9:.1f} GB of disk")
    if need > free:
        raise UserError(
            f"{data_dir}: want {need / 1e9:.1f} GB of free disk, got {free / 1e9:.1f}; "
            "make room, or give a folder on another disk"
        )
    for name, url in missing.items():
        archive = os.path.join(data_dir, f"{name}.tar.gz")
        fetch(url, archive, ("md5", ARCHIVES[name][1]), verify)
        extract(archive, os.path.join(data_dir, name))
        os.remove(archive)
    print(f"all films are in {data_dir}; next: prepare_data.py check, then cache")


def content_length(url):
    """Return the size that a server states for a file, bytes, or None."""
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError, ValueError, http.client.HTTPException):
        return None


def fetch(url, path, digest=None, verify=True, wait=1.0):
    """Fetch a file, or go on where an earlier attempt was cut off.

    What has come stands in `path.part`, which takes the name `path` once its digest is right.

    Args:
        url: http or https.
        path: where to put the file; one that is there is left alone.
        digest: (kind, hex): kind is "sha256", "md5" or "git", git's blob id; of the file, or of
            its content if `url` ends in `.gz` and `path` does not: that is unpacked.
        verify: False takes a file with another digest, with a warning.
        wait: seconds before the second attempt; it doubles.

    Raises:
        UserError: no such file, no answer after many attempts, or another digest: the file is kept
            as `path.wrong`.
    """
    if os.path.exists(path):
        print(f"{path} is there")
        return
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    part = f"{path}.part"
    failures, problem = 0, ""
    while failures < ATTEMPTS:
        before = os.path.getsize(part) if os.path.exists(part) else 0
        try:
            _transfer(url, part)
            break
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # nothing lies beyond: it was all there
                break
            if error.code < 500 and error.code not in (408, 429):
                raise UserError(
                    f"{url}: want {os.path.basename(path)}, got HTTP {error.code}; "
                    "check the address, or give a mirror with --url-base"
                ) from None
            problem = f"HTTP {error.code}"
            with contextlib.suppress(TypeError, ValueError):
                time.sleep(min(LONGEST_WAIT, float(error.headers["Retry-After"])))
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename:  # the disk, not the network
                raise
            problem = first_line(error)
        now = os.path.getsize(part) if os.path.exists(part) else 0
        failures = 0 if now > before else failures + 1
        time.sleep(min(LONGEST_WAIT, wait * 2 ** max(0, failures - 1)))
    else:
        raise UserError(
            f"{url}: want {os.path.basename(path)}, got none in {ATTEMPTS} attempts ({problem}); "
            "run the same command again to go on from there"
        )
    if url.endswith(".gz") and not path.endswith(".gz"):
        _unpack(part)
    _check_digest(part, path, digest, verify)
    os.replace(part, path)


def _transfer(url, part):
    """Append what is missing of a file to `part`."""
    have = os.path.getsize(part) if os.path.exists(part) else 0
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
            tqdm(total=total, initial=file.tell(), unit="B", unit_scale=True, desc=name) as bar,
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
            f"{part}.wrong: want a gzip file, got something else ({first_line(error)}); "
            "look at it, and run the same command again"
        ) from None


def _check_digest(part, path, digest, verify):
    if digest is None:
        return
    kind, wanted = digest
    hasher = hashlib.sha1() if kind == "git" else hashlib.new(kind)
    if kind == "git":
        hasher.update(b"blob %d\0" % os.path.getsize(part))
    with open(part, "rb") as file:
        while chunk := file.read(1 << 20):
            hasher.update(chunk)
    got = hasher.hexdigest()
    if got == wanted:
        return
    if not verify:
        print(f"warning: {path}: want {kind} {wanted}, got {got}; taken, as --no-verify asks")
        return
    os.replace(part, f"{path}.wrong")
    raise UserError(
        f"{path}.wrong: want {kind} {wanted}, got {got}; run the same command to fetch it again, "
        "or with --no-verify if its publisher has changed it"
    )


def extract(archive, folder):
    """Unpack a .tar.gz of films into a folder that is there complete or not at all.

    Raises:
        UserError: the archive is broken or holds anything but PNG files in folders.
    """
    partial = f"{folder}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with (
            open(archive, "rb") as file,
            tqdm(
                total=os.path.getsize(archive),
                unit="B",
                unit_scale=True,
                desc=f"unpacking {os.path.basename(archive)}",
            ) as bar,
            tarfile.open(fileobj=file, mode="r|gz") as tar,
        ):
            for member in tar:
                if not (member.isdir() or (member.isfile() and FILM.fullmatch(member.name))):
                    raise UserError(
                        f"{archive}: want PNG films alone, got {member.name!r}; "
                        "get the archive from a source you trust"
                    )
                tar.extract(member, partial, filter="data")
                bar.update(file.tell() - bar.n)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise UserError(
            f"{archive}: want a complete .tar.gz, got a broken one ({first_line(error)}); "
            "remove it and run the same command again"
        ) from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    os.replace(partial, folder)
