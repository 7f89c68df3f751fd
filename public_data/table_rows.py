"""What the readers of published tables share: their rows, and a `Film` for each film of one."""

from typing import NamedTuple

from films.csv_rows import csv_rows, open_table
from runtime.files import UserError

# What a cell says in words of CheXpert, MIMIC and VinDr; -1 is uncertain.
STATES = {"1.0": 1, "0.0": 0, "-1.0": None, "1": 1, "0": 0, "-1": None}

# Tables that people have and that are read by no option, by a column that only they have.
NOT_READ = {
    "path_to_image": "this is CheXpert Plus's table of reports, which has no labels; give "
    "train.csv or valid.csv of CheXpert-v1.0",
    "Bbox [x": "this is NIH's table of boxes (BBox_List_2017.csv); give Data_Entry_2017_v2020.csv",
}


class Film(NamedTuple):
    """What a table says of a film.

    `where` is its file and line; `labels` has 1, 0 or None (unknown) for each finding that the
    data set knows, and is None where nothing was labelled. `boxes` are (finding, left, top, width,
    height) of those that the data set publishes, in pixels of NIH's films.
    """

    where: str
    name: str
    patient: str
    frontal: bool
    labels: dict | None
    boxes: list | tuple = ()


def table_rows(path, columns, others):
    """Yield ("file:line", dict from column to text) of a table.

    Args:
        path: CSV file, plain, in gzip or in zip.
        columns: those that it must have; or a list of such lists, of which one must be there.
        others: dict from an option to the columns of the table that it reads, for the message.

    Raises:
        UserError: another table, or a line that is not as it should be.
    """
    forms = columns if isinstance(columns[0], list) else [columns]
    with open_table(path) as file:
        rows = csv_rows(path, file, "download the table again")
        where, header = next(rows, (f"{path}:1", []))
        if not any({*form} <= {*header} for form in forms):
            _refuse(where, header, forms[0], others)
        for where, cells in rows:
            yield where, dict(zip(header, cells, strict=True))


def _refuse(where, header, columns, others):
    missing = next(column for column in columns if column not in header)
    known = [text for column, text in NOT_READ.items() if column in header]
    # The table that has most of its columns named: Google's has all of NIH's too.
    fitting = sorted(
        (len(needed), option) for option, needed in others.items() if {*needed} <= {*header}
    )
    if known:
        remedy = known[0]
    elif fitting:
        remedy = f"it has the columns for {fitting[-1][1]}"
    else:
        remedy = "download the table again, or see docs/other_data_sets.md for what is read"
    raise UserError(f"{where}: no column {missing[0:80]!r}; {remedy}")


def check_once(first, where, what):
    """Raise UserError naming `where` unless this is the first line of `what`."""
    if not first:
        raise UserError(f"{where}: {what} is there again; remove one of the two lines")


def wrong_cell(where, wanted, column, cell):
    """Return the `UserError` of a cell that is none of those that a column may hold."""
    return UserError(
        f"{where}: want {wanted} in the column {column!r}, got {cell[:80]!r}; correct the line"
    )
