"""predictions.csv: a line for each film, its name and 14 probabilities."""

import csv

import numpy as np

from films.csv_rows import write_rows
from films.label_csv import note_once
from films.label_lists import CLASS_NAMES
from runtime.files import UserError, first_line

COLUMNS = ["Image Index", *(f"prob_{name}" for name in CLASS_NAMES)]


def write_predictions(path, names, probs):
    """Write predictions, each number the shortest text that reads back as the same float32.

    Args:
        path: the CSV file.
        names: N film names.
        probs: float32 `[N, C]`.
    """
    pairs = zip(names, probs, strict=True)
    write_rows(path, COLUMNS, ((name, *map(str, row)) for name, row in pairs))


def write_failed(path, failed):
    """Write which films were left out: dict from name to what is wrong with it."""
    write_rows(path, ["Image Index", "error"], failed.items())


def film_names(path):
    """Return the names of the films in a predictions.csv; none where it is missing or broken."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [row["Image Index"] for row in csv.DictReader(file)]
    except (FileNotFoundError, KeyError, UnicodeDecodeError, csv.Error):
        return []


def read_predictions(path, names, option="--test-list"):
    """Read a predictions.csv: of `write_predictions`, or another with these columns.

    Args:
        path: the CSV file.
        names: the films wanted, in this order.
        option: which one gives them, for the message.

    Returns:
        float32 `[N, C]`.

    Raises:
        UserError: the file is missing or broken, or lacks one of the films. It may have more.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = csv.reader(file)
        if sorted(header) != sorted(COLUMNS):
            raise ValueError(f"the columns {','.join(header)[:80]!r}")
        # In any order: others sort them by name.
        order = [header.index(column) for column in COLUMNS]
        ordered = ([row[n] for n in order] for row in rows if len(row) == len(order))
        probs = {name: np.array(values, np.float32) for name, *values in ordered}
        for name, row in probs.items():
            wrong = row[~((row >= 0) & (row <= 1))]
            if wrong.size:
                raise ValueError(f"{wrong[0]:g} for {name}, which is no probability of 0 to 1")
        if len(probs) != len(rows):
            raise ValueError(f"a film twice, or a line without {len(CLASS_NAMES)} probabilities")
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: want a predictions.csv of eval.py, got {first_line(error)}; make it again"
        ) from None
    missing = [name for name in names if name not in probs]
    if missing:
        raise UserError(
            f"{path}: no prediction for {len(missing):,} of the {len(names):,} films of {option}, "
            f"{missing[0]} first; give the list that the predictions are for"
        )
    if more := len(probs) - len(names):
        note_once(f"{path} has predictions of {more:,} further films, which count for nothing here")
    return np.stack([probs[name] for name in names])


def mean_predictions(paths, names):
    """Return the mean of several predictions.csv of the same films (see `read_predictions`).

    Of probabilities, as the ten crops': float32 `[N, C]`. One file's mean is that file's bits.
    """
    total = sum(read_predictions(path, names).astype(np.float64) for path in paths)
    return (total / len(paths)).astype(np.float32)
