"""A label list as a CSV file: a film a row, a column for each class of which something is known."""

import csv
import io
import math
import re

from runtime.files import UserError, first_line

FILM, PATIENT = "Image Index", "Patient ID"
# Spreadsheets and pandas write 1.0 for 1 where other cells of the column are empty.
CELLS = {"0": 0, "1": 1, "": math.nan, "-1": math.nan}
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
    rows = _rows(path, text)
    where, header = next(rows)
    _check_header(where, header, classes)
    names, patients, labels, first_of = [], [], [], {}
    for where, row in rows:
        if len(row) != len(header):
            raise UserError(
                f"{where}: want {len(header)} cells as in the header, got {len(row)}; "
                "correct the row"
            )
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
        raise UserError(f"{path}: want a row for each film, got a header alone; add the films")
    return names, patients if PATIENT in header else None, labels


def _rows(path, text):
    """Yield ("file:line", cells) of each row that is not empty."""
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            if row:
                yield f"{path}:{reader.line_num}", [cell.strip() for cell in row]
    except csv.Error as error:
        raise UserError(
            f"{path}:{reader.line_num}: want a row of a CSV file, got something else "
            f"({first_line(error)}); correct the row"
        ) from None


def _check_header(where, header, classes):
    if FILM not in header:
        raise UserError(f"{where}: want a column {FILM!r}, got none; correct the header")
    strange = [column for column in header if column not in (FILM, PATIENT, *classes)]
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
        raise UserError(f"{where}: want a column for a class at least, got none; add labels")


def _check_name(where, name):
    """Admit relative paths alone, with / between: a list may not lead out of the data folder."""
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
