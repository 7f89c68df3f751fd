"""What a step is, what it takes, and how the steps are shown. Needs no package."""

import os
import shlex
import shutil
import textwrap
from collections.abc import Callable
from typing import NamedTuple

from public_data.sources import ARCHIVE_SIZE, ARCHIVES, FILMS, REFERENCE
from runtime.files import read_json

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Seconds on two cores of an AMD EPYC without a GPU (benchmarks/RESULTS.md; logs/README.md,
# 2026-11-24 and 2026-11-28): of films of 1024 pixels, crops of 224. Nothing was measured on a GPU.
READ = 0.0122  # decode and resize a film, one core
EVALUATE = 0.366  # ten crops of a film
EVALUATE_START = 18  # load the network, draw the page
TRAIN = 1.72 / 16  # a step of 16 films
VALIDATE = 0.15  # a crop of a film, as training validates
CONVERT = 10
COMPARE = 2.4 / 22_433  # a film
WEIGHT_FILE = 0.1e9  # bytes at most: 28 MB, or 84 with Adam's moments
COLUMNS = 100  # of a terminal


class Step(NamedTuple):
    """A command and what it leaves.

    Attributes:
        name: in a word or two.
        words: the script and its options.
        folder: where the result goes.
        size: bytes that it takes there, at most.
        seconds: about how long it takes; None: unknown.
        there: tells whether the result is there, whole, and of these inputs.
        marker, facts: for a script that leaves nothing that tells, instead of `there`: a JSON file
            that notes facts once the step is done, and what returns them, a dict from what the
            step depends on and made to digests; None where something is missing.
    """

    name: str
    words: list
    folder: str
    size: float
    seconds: float | None
    there: Callable | None = None
    marker: str | None = None
    facts: Callable | None = None

    def is_there(self):
        """Tell whether the result is there, whole, and of these inputs."""
        if self.there:
            return self.there()
        facts = self.facts()
        return facts is not None and read_json(self.marker).get("sha256") == facts


class Places(NamedTuple):
    """Files that steps pass on to one another."""

    lists: dict  # of "train", "val" and "test"
    checkpoint: str
    converted: str
    best: str
    published: str  # folders
    own: str


class Found(NamedTuple):
    """What is there before the first step.

    Attributes:
        counts: films of the lists "train", "val" and "test", and of the data folder, "all".
        has_films: all listed films are there.
        download: bytes of disk that fetching what is missing takes, at most.
    """

    counts: dict
    has_films: bool
    download: float


# What there is before anything is there: the archives, one beside its films, and two weight files.
NOTHING = Found(
    {part: films for part, (films, _, _) in REFERENCE.items()} | {"all": FILMS},
    False,
    (1.02 * len(ARCHIVES) + 1) * ARCHIVE_SIZE + 2 * WEIGHT_FILE,
)


def show_plan(steps, done):
    """Print what is to do, what disk it takes and how long it takes.

    Args:
        steps: list of `Step`.
        done: names of those whose results are there.
    """
    print(f"{'step':<18}{'':<10}{'disk':>10}{'time':>14}")
    for step in steps:
        if step.name in done:
            print(f"{step.name:<18}is there")
            continue
        size = f"{step.size / 1e9:.2f} GB" if step.size else "-"
        print(f"{step.name:<18}{'to do':<10}{size:>10}{duration(step.seconds):>14}")
        width = COLUMNS - len(" \\")
        begin = {"initial_indent": " " * 4, "subsequent_indent": " " * 8}
        lines = textwrap.wrap(
            shown(step), width, **begin, break_long_words=False, break_on_hyphens=False
        )
        print(" \\\n".join(lines))
    print(
        "Disk: at most. Times: scaled from a machine of two cores without a GPU "
        "(benchmarks/RESULTS.md).\nNothing was measured on a GPU; zoogzog/chexnet reports about "
        "22 h of training on a P100.",
        flush=True,
    )


def shown(step):
    """Return a step's command as one would type it."""
    script, *words = map(str, step.words)
    return shlex.join(["python", os.path.relpath(os.path.join(ROOT, script)), *words])


def duration(seconds):
    """Return a time as text, in a unit that suits it."""
    if seconds is None:
        return "unknown"
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def lacking_disk(steps):
    """Say which folder has too little disk for steps; None where there is enough."""
    need, folders = {}, {}
    for step in steps:
        folder = os.path.abspath(step.folder)
        while not os.path.exists(folder):
            folder = os.path.dirname(folder)
        device = os.stat(folder).st_dev
        need[device] = need.get(device, 0) + step.size
        folders.setdefault(device, (folder, step.folder))
    for device, (existing, folder) in folders.items():
        free = shutil.disk_usage(existing).free
        if need[device] > free:
            return (
                f"{folder}: want {need[device] / 1e9:.1f} GB of free disk, got {free / 1e9:.1f}; "
                "make room, or give folders on another disk"
            )
    return None
