"""Label lists: which films, what is on them and whose they are; as text with flags, or as CSV."""

import os
import re
from typing import NamedTuple

import numpy as np

from films.label_csv import FILM, PATIENT, as_number, note_once, read_finding, read_label_table
from runtime.files import UserError, refuse_placeholder

# The order of the flags in the label lists and of the network's outputs.
CLASS_NAMES = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)


class LabelList(NamedTuple):
    """What a label list says of N films.

    Attributes:
        names: list of file names; those of a CSV file may have folders.
        labels: `[N, C]`, in the order of `CLASS_NAMES`: uint8 of 0 and 1, or float32 with NaN
            where any label is unknown. What forgets to leave these out becomes NaN, and is seen.
        patients: list of texts, the patient of each film.
    """

    names: list
    labels: np.ndarray
    patients: list


def read_label_list(path):
    """Return names and labels of a label list (see `read_labels`)."""
    names, labels, _ = read_labels(path)
    return names, labels


def read_labels(path):
    """Read a label list: one film a line, its file name and 14 flags of 0 or 1; or a CSV file.

    A CSV file has a header with "Image Index"; docs/data.md describes it.

    Args:
        path: text file, UTF-8; a byte-order mark and Windows line ends are accepted.

    Returns:
        a `LabelList`.

    Raises:
        UserError: naming the file and the line that is not as it should be.
    """
    text = _read_text(path)
    if _is_table(text):
        names, patients, labels = read_label_table(path, text, CLASS_NAMES)
        labels = np.array(labels, np.float32)
        labels = labels if np.isnan(labels).any() else labels.astype(np.uint8)
        return LabelList(names, labels, patients or _patients_by_name(path, names))
    names, labels = _read_flags(path, text.splitlines())
    return LabelList(names, labels, [patient(name) for name in names])


def read_column(path, finding):
    """Read a finding that is none of the classes from a label list (see `read_labels`).

    Args:
        path: of the list.
        finding: one of `label_csv.OTHER_FINDINGS`.

    Returns:
        dict from film to 0, 1 or NaN; empty where the list has no such column.
    """
    text = _read_text(path)
    return read_finding(path, text, finding) if _is_table(text) else {}


def _is_table(text):
    return FILM in text.partition("\n")[0]


def _read_text(path):
    try:
        refuse_placeholder(path)
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except FileNotFoundError:
        raise UserError(
            f"{path}: no such label list; fetch the lists with prepare_data.py "
            "download, or check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: want a text file, got bytes that are not UTF-8 at {error.start}; unpack it "
            "if it is an archive, or save it again (in a spreadsheet: CSV UTF-8)"
        ) from None


def _read_flags(path, lines):
    """Return names and labels uint8 `[N, C]` of lines with a name and 14 flags."""
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{path}: want a line for each film, got an empty file; check the download")

    names, labels, line_of = [], np.empty((len(lines), len(CLASS_NAMES)), np.uint8), {}
    for row, line in enumerate(lines):
        name, *flags = line.split() or [""]
        if len(flags) != len(CLASS_NAMES) or not {"0", "1"}.issuperset(flags):
            header = f", or a header with {FILM!r} (CSV)" if not row else ""
            remedy = "correct the line"
            words, last = flags[: -len(CLASS_NAMES)], flags[-len(CLASS_NAMES) :]
            if {*last} <= {"0", "1"} and {*words} - {"0", "1"}:
                remedy = "names with spaces take a list in CSV, as docs/data.md has it"
            raise UserError(
                f"{path}:{row + 1}: want a file name and {len(CLASS_NAMES)} flags of 0 or "
                f"1{header}, got {line[:120]!r}; {remedy}"
            )
        if name != os.path.basename(name) or "\0" in name or name in (".", ".."):
            raise UserError(
                f"{path}:{row + 1}: want the bare name of a film, got {name[:120]!r}; "
                "films are looked up by name below the data folder"
            )
        if line_of.setdefault(name, row) != row:
            raise UserError(
                f"{path}:{row + 1}: want each film once, got {name} again "
                f"(first on line {line_of[name] + 1}); remove one of the two"
            )
        names.append(name)
        labels[row] = [flag == "1" for flag in flags]
    return names, labels


def patient(name):
    """Return the patient of a film, by NIH's naming: "00000013" of "00000013_005.png"."""
    return os.path.splitext(os.path.basename(name))[0].split("_")[0]


def is_nih_name(name):
    """Tell whether a film is named as NIH names its own: "00000013_005.png"."""
    return re.fullmatch(r"\d{8}_\d{3}\.\w+", os.path.basename(name)) is not None


def films_shared(listed, other):
    """Return the films of a `LabelList` whose patient has films in another list too.

    The two may tell patients apart differently: by a column, by NIH's names, or each film is its
    own, and then its name is the patient's. Numbers are compared as numbers.

    Args:
        listed, other: `LabelList`s.
    """
    theirs = {as_number(who) for who in (*other.patients, *map(_nih_patient, other.names)) if who}
    names = {*other.names}
    shared = []
    for name, number in zip(listed.names, listed.patients, strict=True):
        own = {as_number(who) for who in (name, number, _nih_patient(name)) if who}
        if not theirs.isdisjoint(own) or (number == name and name in names):
            shared.append(name)
    return shared


def _nih_patient(name):
    return patient(name) if is_nih_name(name) else None


def _patients_by_name(path, names):
    """Return patients of a list that does not name them: by NIH's naming, or each film its own."""
    own = sum(not is_nih_name(name) for name in names)
    if own:
        note_once(
            f"{path} has no column {PATIENT!r}, and {own:,} of {len(names):,} names are not NIH's "
            "(00000001_000.png): each of these films counts as a patient of its own"
        )
    return [patient(name) if is_nih_name(name) else name for name in names]
