"""Fetching what ChestX-ray14 consists of, and what others published for it."""

import csv
import gzip
import os
import re
import shutil
import tarfile
import zlib

from dataset import CLASS_NAMES, list_films
from nih.sources import (
    ARCHIVE_SIZE,
    ARCHIVES,
    JRZECH_MEAN_AUROC,
    LABELS,
    NIH,
    PREDICTIONS,
    WEIGHTS,
)
from nih.transfer import content_length, fetch
from runtime.files import UserError, first_line
from runtime.progress import progress_bar

FILMS = 112_120  # in the twelve archives
# The path of a film in an archive.
FILM = re.compile(r"(\./)?([\w-]+/)*[\w.-]+\.png")


def download(data_dir, weights_dir=None, predictions=False, films=True, url_base=None, verify=True):
    """Fetch what is missing of ChestX-ray14.

    Args:
        data_dir: gets `labels/` and `images_001/images/` to `images_012/images/`.
        weights_dir: gets the published checkpoints; None: none of them.
        predictions: True adds `predictions/`, published for the films of test_list.txt.
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
    if predictions:
        wanted.append((os.path.join(data_dir, "predictions"), PREDICTIONS))
    for folder, files in wanted:
        for name, (url, digest) in files.items():
            packed = ".gz" if url.endswith(".csv.gz") else ""
            check = None if digest else check_published_aurocs
            path = os.path.join(folder, name)
            fetch(address(url, name + packed), path, digest, verify, check=check)
    missing = {
        name: address(f"{NIH}{link}.gz", f"{name}.tar.gz")
        for name, (link, _) in ARCHIVES.items()
        if not os.path.isdir(os.path.join(data_dir, name))
    }
    if films and missing and len(list_films(data_dir)) >= FILMS:
        print(f"all {FILMS:,} films are in {data_dir}")
        return
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


def check_published_aurocs(path):
    """Raise ValueError unless a file is jrzech/reproduce-chexnet's table of AUROCs."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            aurocs = {row["label"]: float(row["auc"]) for row in csv.DictReader(file)}
    except (KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"want the columns label and auc, got {first_line(error)}") from None
    mean = sum(aurocs.values()) / max(1, len(aurocs))
    if set(aurocs) != set(CLASS_NAMES) or round(mean, 5) != JRZECH_MEAN_AUROC:
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
