"""Readers of the tables that the data sets publish: a `Film` for each film of a table."""

import csv
import gzip
import re
import zlib
from typing import NamedTuple

from films.label_lists import CLASS_NAMES, patient
from public_data.finding_names import CHEXPERT, OPENI, PADCHEST, VINDR
from runtime.files import UserError, first_line

# The columns that are read; a table that lacks one is another data set's.
COLUMNS = {
    "chexpert": ["Path", "Frontal/Lateral", "No Finding", *CHEXPERT.values()],
    "mimic": ["subject_id", "study_id", "No Finding", *CHEXPERT.values()],
    "padchest": ["ImageID", "ImageDir", "PatientID", "Projection", "Labels"],
    "vindr": ["image_id", *VINDR.values()],
    "openi": ["uid", "MeSH"],
    "nih": ["Image Index", "Finding Labels"],
}
# Those of the second table, where a line of the first is a study or a report and not a film.
METADATA_COLUMNS = {
    "mimic": ["dicom_id", "subject_id", "study_id", "ViewPosition"],
    "openi": ["uid", "filename", "projection"],
}

# What a cell of CheXpert's and MIMIC's says; -1 is uncertain.
STATES = {"1.0": 1, "0.0": 0, "-1.0": None, "1": 1, "0": 0, "-1": None}
# MeSH headings of reports that say nothing of findings.
NO_FINDINGS_READ = {"no indexing", "technical quality of image unsatisfactory"}


class Film(NamedTuple):
    """What a table says of a film.

    `where` is its file and line; `labels` has 1, 0 or None (unknown) for each class that the data
    set knows, and is None where nothing was labelled.
    """

    where: str
    name: str
    patient: str
    frontal: bool
    labels: dict | None


def read_chexpert(path, unmentioned):
    """Yield the films of CheXpert-v1.0's train.csv or valid.csv.

    Args:
        path: of the table.
        unmentioned: 0 or None (unknown), for a finding that a report does not mention.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in _rows(path, COLUMNS["chexpert"]):
        found = re.search(r"/(patient\d+)/", row["Path"])
        if not found:
            raise UserError(
                f"{where}: want a path with /patient00001/ in it, got {row['Path'][:120]!r}; "
                "correct the line"
            )
        frontal = row["Frontal/Lateral"] == "Frontal"
        labels = _chexpert_labels(where, row, unmentioned)
        yield Film(where, row["Path"], found[1], frontal, labels)


def read_mimic(path, metadata, unmentioned):
    """Yield the films of mimic-cxr-2.0.0-metadata.csv, with the labels of their studies.

    Args:
        path: of mimic-cxr-2.0.0-chexpert.csv, or of its twin ...-negbio.csv.
        metadata: path of mimic-cxr-2.0.0-metadata.csv.
        unmentioned: 0 or None (unknown), for a finding that a report does not mention.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    studies = {}
    for where, row in _rows(path, COLUMNS["mimic"]):
        study = (row["subject_id"], row["study_id"])
        _once(study not in studies, where, f"study {row['study_id']}")
        studies[study] = _chexpert_labels(where, row, unmentioned)
    for where, row in _rows(metadata, METADATA_COLUMNS["mimic"]):
        subject, study = row["subject_id"], row["study_id"]
        name = f"files/p{subject[:2]}/p{subject}/s{study}/{row['dicom_id']}.jpg"
        frontal = row["ViewPosition"] in ("PA", "AP")
        yield Film(where, name, subject, frontal, studies.get((subject, study)))


def _chexpert_labels(where, row, unmentioned):
    """Return class -> 1, 0 or None; "No Finding" makes 0 of what is not mentioned."""
    if row["No Finding"] in ("1.0", "1"):
        unmentioned = 0
    labels = {}
    for name, finding in CHEXPERT.items():
        cell = row[finding]
        if cell and cell not in STATES:
            raise UserError(
                f"{where}: want 1.0, 0.0, -1.0 or nothing in the column {finding!r}, got "
                f"{cell[:80]!r}; correct the line"
            )
        labels[name] = STATES[cell] if cell else unmentioned
    return labels


def read_padchest(path):
    """Yield the films of PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in _rows(path, COLUMNS["padchest"]):
        name = f"{row['ImageDir']}/{row['ImageID']}"
        frontal = row["Projection"] in ("PA", "AP", "AP_horizontal")
        labels = _padchest_labels(where, row["Labels"])
        yield Film(where, name, row["PatientID"], frontal, labels)


def _padchest_labels(where, text):
    """Return class -> 1, 0 or None, of "['pneumonia', 'cardiomegaly']"; None if it says nothing."""
    if not text:
        return None
    if not re.fullmatch(r"\[('[^']*'(, ?)?)*\]", text):
        raise UserError(
            f"{where}: want findings as in ['pneumonia', 'nodule'] in the column 'Labels', got "
            f"{text[:80]!r}; correct the line"
        )
    findings = {finding.strip() for finding in re.findall(r"'([^']*)'", text)} - {""}
    if not findings or "exclude" in findings:
        return None
    # A report that says "unchanged" relies on an earlier one for what it does not name.
    absent = None if "unchanged" in findings else 0
    return {name: absent if findings.isdisjoint(of) else 1 for name, of in PADCHEST.items()}


def read_vindr(path):
    """Yield the films of VinDr-CXR's image_labels_train.csv or image_labels_test.csv.

    The training table has a line for each of three radiologists: most of them decide.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    readings, seen, folder = {}, set(), "test"
    for where, row in _rows(path, COLUMNS["vindr"]):
        reading = (row["image_id"], row.get("rad_id"))
        if "rad_id" in row:
            folder = "train"
        _once(reading not in seen, where, " of ".join(filter(None, reading)))
        seen.add(reading)
        for finding in VINDR.values():
            if STATES.get(row[finding]) is None:
                raise UserError(
                    f"{where}: want 0 or 1 in the column {finding!r}, got {row[finding][:80]!r}; "
                    "correct the line"
                )
        states = {name: STATES[row[finding]] for name, finding in VINDR.items()}
        readings.setdefault(row["image_id"], (where, []))[1].append(states)
    for image, (where, given) in readings.items():
        # Twice the yes votes against all votes; two radiologists may disagree.
        yes = {name: 2 * sum(states[name] for states in given) for name in VINDR}
        labels = {
            name: None if votes == len(given) else int(votes > len(given))
            for name, votes in yes.items()
        }
        # A patient's number is not published, and all films are postero-anterior.
        yield Film(where, f"{folder}/{image}.dicom", "", True, labels)


def read_openi(path, metadata):
    """Yield the films of Open-i's Indiana collection, in the form that Kaggle has it.

    Args:
        path: of indiana_reports.csv.
        metadata: path of indiana_projections.csv.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    reports = {}
    for where, row in _rows(path, COLUMNS["openi"]):
        _once(row["uid"] not in reports, where, f"report {row['uid']}")
        reports[row["uid"]] = _openi_labels(row["MeSH"])
    for where, row in _rows(metadata, METADATA_COLUMNS["openi"]):
        frontal = row["projection"] == "Frontal"
        yield Film(where, row["filename"], row["uid"], frontal, reports.get(row["uid"]))


def _openi_labels(mesh):
    """Return class -> 1, 0 or None, of "Cardiomegaly/borderline;Nodule"; None if it says nothing.

    What is borderline is unknown.
    """
    terms = [term.strip().lower().split("/") for term in mesh.split(";") if term.strip()]
    if {heading for heading, *_ in terms} <= NO_FINDINGS_READ:
        return None
    labels = {}
    for name, findings in OPENI.items():
        wanted = [finding.lower().split("/") for finding in findings]
        found = [term for term in terms for want in wanted if _is(term, want)]
        certain = any("borderline" not in term for term in found)
        labels[name] = 1 if certain else None if found else 0
    return labels


def _is(term, wanted):
    return term[0] == wanted[0] and set(wanted) <= set(term)


def read_nih(path):
    """Yield the films of Data_Entry_2017.csv or Data_Entry_2017_v2020.csv: all are frontal.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in _rows(path, COLUMNS["nih"]):
        findings = set(row["Finding Labels"].split("|"))
        strange = findings.difference(CLASS_NAMES, {"No Finding"})
        if strange:
            raise UserError(
                f"{where}: want findings of the 14 or 'No Finding', got {min(strange)[:80]!r}; "
                "correct the line"
            )
        labels = {name: int(name in findings) for name in CLASS_NAMES}
        # As in the film's name, which the label lists go by; the table has "1" for "00000001".
        film = row["Image Index"]
        yield Film(where, film, patient(film), True, labels)


def _rows(path, columns):
    """Yield ("file:line", dict from column to text) of a CSV file, or of one in gzip."""
    try:
        opener = gzip.open if str(path).endswith(".gz") else open
        with opener(path, "rt", newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            _check_header(path, header, columns)
            for row in filter(None, reader):
                where = f"{path}:{reader.line_num}"
                if len(row) != len(header):
                    raise UserError(
                        f"{where}: want {len(header)} cells, got {len(row)}; "
                        "download the table again"
                    )
                yield where, dict(zip(header, row, strict=True))
    except (UnicodeDecodeError, csv.Error, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(
            f"{path}: want a table as CSV, got something else ({first_line(error)}); "
            "download it again"
        ) from None


def _check_header(path, header, columns):
    missing = [column for column in columns if column not in header]
    if not missing:
        return
    options = {f"--from {name}": needed for name, needed in COLUMNS.items()}
    options |= {f"--metadata of {name}": needed for name, needed in METADATA_COLUMNS.items()}
    fitting = [option for option, needed in options.items() if set(needed) <= set(header)]
    remedy = f"it has the columns for {fitting[0]}" if fitting else "download the table again"
    raise UserError(f"{path}:1: want a column {missing[0]!r}, got a table without; {remedy}")


def _once(first, where, what):
    if not first:
        raise UserError(f"{where}: want each line once, got {what} again; remove one of the two")
