"""A label list as a CSV file: a film a row, a column for each class of which something is known."""

import functools
import io
import math
import re
import sys

from films.csv_rows import csv_rows
from runtime.devices import print_on_first_rank
from runtime.files import UserError

FILM, PATIENT = "Image Index", "Patient ID"
# Spreadsheets and pandas write 1.0 for 1 where other cells of the column are empty.
CELLS = {"0": 0, "1": 1, "": math.nan, "-1": math.nan}
# Findings of radiologists that are none of the 14 classes; their columns are passed over.
OTHER_FINDINGS = ("Nodule or mass", "Airspace opacity", "Fracture")
CELLS |= {f"{cell}.0": value for cell, value in CELLS.items() if cell}


def read_label_table(path, text, classes):
    """Read a label list in CSV.

    Args:
        path: of the file, for messages.
        text: what it holds.
        classes: names of the C classes; the table may have any of them as columns, in any order.

    Returns:
        names: list of N films, with folders where the table has them: "patient7/film.png".
        patients: list of N texts, or None where the table has no such column.
        labels: list of N lists of C numbers: 0, 1, or NaN where the label is unknown.

    Raises:
        UserError: naming the file and the row that is not as it should be.
    """
    rows = csv_rows(path, io.StringIO(text), "correct the row")
    where, header = next(rows)
    _check_header(where, header, classes)
    names, patients, labels, first_of = [], [], [], {}
    for where, row in rows:
        cells = dict(zip(header, row, strict=True))
        name = cells[FILM]
        _check_name(where, name)
        if first_of.setdefault(name, where) != where:
            raise UserError(
                f"{where}: want each film once, got {name} again (first: {first_of[name]}); "
                "remove one of the two"
            )
        names.append(name)
        patients.append(_patient(where, cells))
        labels.append([_label(where, finding, cells.get(finding, "")) for finding in classes])
    if not names:
        raise UserError(f"{path}: want a row for each film, got only a header; add the films")
    return names, _written_once(path, patients) if PATIENT in header else None, labels


def read_finding(path, text, finding):
    """Return one column of such a table: dict from film to 0, 1 or NaN; empty without it."""
    rows = csv_rows(path, io.StringIO(text), "correct the row")
    _, header = next(rows)
    if finding not in header:
        return {}
    cells = ((where, dict(zip(header, row, strict=True))) for where, row in rows)
    return {row[FILM]: _label(where, finding, row[finding]) for where, row in cells}


def as_number(patient):
    """Return a patient as a number where it is one: "100" of "100.0" and "00000100", else as it is.

    pandas writes the second where a cell of the column is empty; spreadsheets drop zeros.
    """
    number = re.fullmatch(r"0*(\d+)(\.0*)?", patient)
    return number[1] if number else patient


def _written_once(path, patients):
    """Return patients, each as it was first written, where numbers are written in several ways."""
    first, ways = {}, {}
    for patient in patients:
        first.setdefault(as_number(patient), patient)
        ways.setdefault(as_number(patient), set()).add(patient)
    several = sorted(min(texts) for texts in ways.values() if len(texts) > 1)
    if several:
        note_once(
            f"{path} writes the numbers of {len(several):,} patients in several ways, "
            f"{sorted(ways[as_number(several[0])])} among them: compared as numbers"
        )
    return [first[as_number(patient)] for patient in patients]


@functools.cache  # said once, however often a list is read
def note_once(text):
    """Print a note to the standard error."""
    print_on_first_rank(f"note: {text}", file=sys.stderr)


def _check_header(where, header, classes):
    if FILM not in header:
        raise UserError(f"{where}: no column {FILM!r}; correct the header")
    if "Finding Labels" in header:
        data_set = "nih-adjudicated" if "Nodule or mass" in header else "nih"
        raise UserError(
            f"{where}: this is a table of NIH's films, not a label list; make one of it with "
            f"prepare_data.py labels --from {data_set}"
        )
    known = (FILM, PATIENT, *classes, *OTHER_FINDINGS)
    strange = [column for column in header if column not in known]
    if strange:
        # A misspelt class would be one of which nothing is known.
        raise UserError(
            f"{where}: want {FILM!r}, {PATIENT!r} and names of classes as in docs/data.md, got a "
            f"column {strange[0][:80]!r}; correct or remove it"
        )
    twice = [column for column in header if header.count(column) > 1]
    if twice:
        raise UserError(f"{where}: want each column once, got {twice[0]!r} again; remove one")
    if {*header} <= {FILM, PATIENT}:
        raise UserError(f"{where}: no column for a class; add labels")


def _check_name(where, name):
    """Admit only relative paths, with / between: a list may not lead out of the data folder."""
    parts = name.split("/")
    is_relative = not {"", ".", ".."} & {*parts} and not re.match("[A-Za-z]:", name)
    if not is_relative or "\\" in name or not name.isprintable():
        raise UserError(
            f"{where}: want the name of a film, with folders at most and / between, got "
            f"{name[:120]!r}; films are looked up below the data folder"
        )


def _patient(where, cells):
    patient = cells.get(PATIENT)
    if patient == "":
        raise UserError(
            f"{where}: want a patient in the column {PATIENT!r}, got an empty cell; fill it in, or "
            "remove the column"
        )
    return patient


def _label(where, finding, cell):
    if cell not in CELLS:
        raise UserError(
            f"{where}: want 0, 1, or nothing or -1 for unknown in the column {finding!r}, got "
            f"{cell[:80]!r}; correct the cell"
        )
    return CELLS[cell]
