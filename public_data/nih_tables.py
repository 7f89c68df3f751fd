"""NIH's own tables: who is on a film and what is said of it, boxes, and the official split."""

import math
import posixpath
import re
from typing import NamedTuple

import numpy as np

from films.csv_rows import csv_rows, open_table
from films.label_lists import CLASS_NAMES
from public_data.finding_names import NIH_FINDINGS
from runtime.files import UserError, first_line

SEX_AND_AGE = "sex and age"  # a kind of group, of two properties at once
BOX_GRID = 1024  # the radiologists drew their boxes on films of this side, pixels
# "Bbox [x,y,w,h]" is four columns, of which the first has half of the name.
BOX_COLUMNS = ["Image Index", "Finding Label", "Bbox [x", "y", "w", "h]"]
# The findings of BBox_List_2017.csv that the label lists spell otherwise.
BOX_SPELLINGS = {"Infiltrate": "Infiltration"}


class Box(NamedTuple):
    """A finding that a radiologist has boxed; pixels of `BOX_GRID`."""

    film: str
    finding: str
    left: float
    top: float
    right: float
    bottom: float


class Entry(NamedTuple):
    """A line of Data_Entry_2017; age in years, None where it cannot be.

    `follow_up` counts a patient's films from 0. In the table of 2020 it is not the number in the
    film's name for 24,106 of 112,120 films.
    """

    findings: frozenset
    age: int | None
    sex: str
    view: str
    follow_up: int | None = None


NOBODY = Entry(frozenset(), None, "", "")


def _read_rows(path, columns, what, extra=()):
    """Yield ("file:line", texts of these columns, and of the extra ones, "" without them)."""
    remedy = f"download NIH's {what} again with prepare_data.py"
    with open_table(path) as file:
        rows = csv_rows(path, file, remedy)
        where, header = next(rows, (f"{path}:1", []))
        missing = [column for column in columns if column not in header]
        if missing:
            raise UserError(f"{where}: no column {missing[0]!r}; {remedy}")
        places = [header.index(c) if c in header else None for c in (*columns, *extra)]
        for where, cells in rows:
            yield where, ["" if place is None else cells[place] for place in places]


def read_boxes(path):
    """Read BBox_List_2017.csv.

    Returns:
        list of `Box`.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    boxes = []
    for where, (film, finding, *numbers) in _read_rows(path, BOX_COLUMNS, "BBox_List_2017.csv"):
        finding = BOX_SPELLINGS.get(finding, finding)
        sides = box_sides(numbers)
        if finding not in NIH_FINDINGS or not sides:
            raise UserError(
                f"{where}: want a film, a finding and x, y, width, height, got "
                f"{','.join([film, finding, *numbers])!r}; correct the line"
            )
        if finding in CLASS_NAMES:
            left, top, width, height = sides
            boxes.append(Box(film, finding, left, top, left + width, top + height))
    return boxes


def box_sides(cells):
    """Return left, top, width and height of a box as numbers, of four texts; None if it is none."""
    try:
        left, top, width, height = map(float, cells)
    except ValueError:
        return None
    is_box = width > 0 and height > 0 and math.isfinite(left + top + width + height)
    return (left, top, width, height) if is_box else None


def read_data_entry(path):
    """Read Data_Entry_2017.csv or Data_Entry_2017_v2020.csv.

    Returns:
        dict from film to `Entry`.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    columns = ["Image Index", "Finding Labels", "Patient Age", "Patient Gender", "View Position"]
    entries = {}
    for where, cells in _read_rows(path, columns, "Data_Entry_2017", ["Follow-up #"]):
        film, findings, age, sex, view, follow_up = cells
        findings = frozenset(findings.split("|")) - {"No Finding"}
        unknown = findings.difference(NIH_FINDINGS)
        if unknown:
            raise UserError(
                f"{where}: want findings of the 14, got {min(unknown)!r}; correct the line"
            )
        follow_up = int(follow_up) if follow_up.isdecimal() else None
        entries[film] = Entry(findings, _years(age), sex, view, follow_up)
    return entries


def entry_of(film, entries):
    """Return the `Entry` of a film, whose name may have folders, which NIH's has not; or None."""
    return entries.get(posixpath.basename(film))


def read_names(path, entries, table):
    """Read train_val_list.txt or test_list.txt: a film a line.

    Args:
        path: of the list.
        entries: what `read_data_entry` returned.
        table: of which file, for the message.

    Returns:
        list of names.

    Raises:
        UserError: the list is missing or empty, or a film is twice in it or not in the table.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            names = file.read().split()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path}: want NIH's list, cannot read it ({first_line(error)}); take it from "
            "https://nihcc.app.box.com/v/ChestXray-NIHCC"
        ) from None
    seen = set()
    for line, name in enumerate(names, 1):
        if name not in entries or name in seen:
            got = f"{name[:80]!r} {'again' if name in seen else f'that is not in {table}'}"
            raise UserError(f"{path}:{line}: want films, each once, got {got}; get NIH's own list")
        seen.add(name)
    if not names:
        raise UserError(f"{path}: want films, got an empty list; get NIH's own")
    return names


def _years(text):
    """Return an age in years: of "58", "058Y", "010M" or "003D"; None above 120 or unreadable."""
    match = re.fullmatch(r"(\d+)([YMD]?)", text.strip())
    if not match:
        return None
    age = int(match[1]) if match[2] in ("", "Y") else 0
    return age if age <= 120 else None


def subgroups(films, entries):
    """Group films by what the table says of them.

    Args:
        films: list of N names.
        entries: what `read_data_entry` returned.

    Returns:
        dict from "sex", "age", "view" and "sex and age" to a dict from group to the indices of its
        films; films of which the table says nothing are "not known".
    """
    known = [entry_of(film, entries) or NOBODY for film in films]
    groups = {
        "sex": [entry.sex for entry in known],
        "age": [_age_band(entry.age) for entry in known],
        "view": [entry.view for entry in known],
    }
    both = zip(groups["sex"], groups["age"], strict=True)
    groups[SEX_AND_AGE] = [f"{sex} {age}" if sex and age else "" for sex, age in both]
    found = {}
    for kind, values in groups.items():
        found[kind] = {}
        for n, value in sorted(enumerate(values), key=lambda pair: (not pair[1], pair[1])):
            found[kind].setdefault(value or "not known", []).append(n)
    return found


def facts_of(films, entries):
    """Return what the table says of films in numbers, from which a finding could be guessed.

    Args:
        films: list of N names.
        entries: what `read_data_entry` returned.

    Returns:
        dict from the name of a fact to float `[N]`, NaN where it is not known.
    """
    known = [entry_of(film, entries) or NOBODY for film in films]
    facts = {
        "view AP": [{"PA": 0, "AP": 1}.get(entry.view) for entry in known],
        "sex M": [{"F": 0, "M": 1}.get(entry.sex) for entry in known],
        "age": [entry.age for entry in known],
        "follow-up": [entry.follow_up for entry in known],
    }
    return {name: np.array(values, float) for name, values in facts.items()}  # None becomes NaN


def _age_band(age):
    if age is None:
        return ""
    for low, high in ((0, 17), (18, 39), (40, 59), (60, 79)):
        if low <= age <= high:
            return f"{low}-{high}"
    return "80+"
