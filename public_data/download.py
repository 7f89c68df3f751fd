"""Fetching what ChestX-ray14 consists of, and what others published for it."""

import concurrent.futures
import csv
import glob
import gzip
import os
import re
import shutil
import sys
import tarfile
import zlib

import paddle

from films.film_paths import list_films
from public_data.finding_names import NIH_FINDINGS
from public_data.sources import (
    ARCHIVE_SIZE,
    ARCHIVES,
    FILMS,
    JRZECH_MEAN_AUROC,
    LABELS,
    NIH,
    PREDICTIONS,
    WEIGHTS,
)
from public_data.transfer import NotFetched, content_length, fetch
from runtime.files import UserError, first_line
from runtime.progress import progress_bar

# The path of a film in an archive.
FILM = re.compile(r"(\./)?([\w-]+/)*[\w.-]+\.png")


def download(
    data_dir,
    weights_dir=None,
    weights=(),
    imagenet=False,
    predictions=False,
    films=True,
    url_base=None,
    verify=True,
):
    """Fetch what is missing of ChestX-ray14.

    Args:
        data_dir: gets `labels/` and `images_001/images/` to `images_012/images/`.
        weights_dir: gets published checkpoints.
        weights: names of those, of `sources.WEIGHTS`.
        imagenet: True adds the weights that train.py starts from, where Paddle looks for them.
        predictions: True adds `predictions/`, published for the films of test_list.txt.
        films: False leaves out the films.
        url_base: address of a mirror with all files by name; None: where they were published.
        verify: False takes files with another digest.

    Raises:
        UserError: a file cannot be had, or the disk is too small for the films.
    """
    wanted = [(os.path.join(data_dir, "labels"), LABELS)]
    wanted.append((weights_dir, {name: WEIGHTS[name] for name in weights}))
    if predictions:
        wanted.append((os.path.join(data_dir, "predictions"), PREDICTIONS))
    for folder, files in wanted:
        for name, (url, digest) in files.items():
            packed = ".gz" if url.endswith(".csv.gz") else ""
            address, path = _address(url, name + packed, url_base), os.path.join(folder, name)
            if digest:
                fetch(address, path, digest, verify)
            else:
                fetch_published_aurocs(address, path, verify)
    if imagenet:
        path, url, digest = imagenet_weights()
        # Another file would be fetched again by Paddle: it compares the digest too.
        fetch(_address(url, os.path.basename(path), url_base), path, digest)
    missing = missing_archives(data_dir, url_base)
    if not films or not missing:
        return
    if len(list_films(data_dir)) >= FILMS:
        print(f"all {FILMS:,} films are in {data_dir}")
        return
    size, need = archives_size(data_dir, missing)
    free = shutil.disk_usage(data_dir).free
    print(f"{len(missing)} archives, {size / 1e9:.1f} GB; needs {need / 1e9:.1f} GB of disk")
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


def _address(url, name, url_base):
    return f"{url_base.rstrip('/')}/{name}" if url_base else url


def missing_archives(data_dir, url_base=None):
    """Return a dict from name to address of the archives that are not unpacked in a data folder."""
    return {
        name: _address(f"{NIH}{link}.gz", f"{name}.tar.gz", url_base)
        for name, (link, _) in ARCHIVES.items()
        if not os.path.isdir(os.path.join(data_dir, name))
    }


def archives_size(data_dir, archives, ask=True):
    """Ask the server for the size of archives.

    Args:
        data_dir: where they will be unpacked.
        archives: dict from name to address, at least one.
        ask: False takes the size that they have about.

    Returns:
        size: of all, bytes.
        need: free disk that fetching and unpacking them takes, bytes.
    """
    sizes = [ARCHIVE_SIZE] * len(archives)
    if ask:
        with concurrent.futures.ThreadPoolExecutor(len(archives)) as pool:
            sizes = [size or ARCHIVE_SIZE for size in pool.map(content_length, archives.values())]
    # Films do not compress: unpacked they take what their archive takes, and one archive at a
    # time lies beside its films. What has come of it already takes no more room.
    there = sum(
        os.path.getsize(path)
        for name in archives
        for form in (".tar.gz", ".tar.gz.part", ".tmp/**/*.png")
        for path in glob.glob(os.path.join(glob.escape(data_dir), name + form), recursive=True)
    )
    return sum(sizes), max(0, 1.02 * sum(sizes) + max(sizes) - there)


def imagenet_weights():
    """Return Paddle's ImageNet weights of the network: path, address, and digest for `fetch`."""
    url, md5 = paddle.vision.models.densenet.model_urls["densenet121"]
    path = os.path.join(paddle.utils.download.WEIGHTS_HOME, os.path.basename(url))
    return path, url, ("md5", md5)


def fetch_published_aurocs(url, path, verify):
    """Fetch jrzech/reproduce-chexnet's table of AUROCs; nothing depends on it: go on without."""
    try:
        fetch(url, path, verify=verify, check=check_published_aurocs)
    except NotFetched as error:
        print(f"warning: {error}; going on without this file", file=sys.stderr)


def check_published_aurocs(path):
    """Raise ValueError unless a file is jrzech/reproduce-chexnet's table of AUROCs."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            aurocs = {row["label"]: float(row["auc"]) for row in csv.DictReader(file)}
    except (KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"want the columns label and auc, got {first_line(error)}") from None
    mean = sum(aurocs.values()) / max(1, len(aurocs))
    if set(aurocs) != set(NIH_FINDINGS) or round(mean, 5) != JRZECH_MEAN_AUROC:
        raise ValueError(
            f"want 14 AUROCs with the mean {JRZECH_MEAN_AUROC}, got {len(aurocs)} with {mean:.5f}"
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
            progress_bar(
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
                        f"{archive}: want only PNG films, got {member.name!r}; "
                        "get the archive from a source you trust"
                    )
                tar.extract(member, partial, filter="data")
                bar.update(file.tell() - bar.n)
        os.replace(partial, folder)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{archive}: broken or cut off ({first_line(error)}); "
            "remove it and run the same command again"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
