"""Readers of the tables that the data sets publish: a `Film` for each film of a table."""

import re

from films.label_lists import patient
from public_data import openi_tables, rsna_tables, vindr_tables
from public_data.finding_names import CHEXPERT, NIH_FINDINGS, PADCHEST, PADCHEST_BROKEN
from public_data.table_rows import STATES, Film, check_once, table_rows, wrong_cell
from runtime.files import UserError

ADJUDICATED = ["Pneumothorax", "Nodule or mass", "Airspace opacity", "Fracture"]

# The columns that are read; a table that lacks one is another data set's.
COLUMNS = {
    "chexpert": ["Path", "No Finding", *CHEXPERT.values()],
    "mimic": ["subject_id", "study_id", "No Finding", *CHEXPERT.values()],
    "padchest": ["ImageID", "ImageDir", "PatientID", "Projection", "Labels"],
    "vindr": vindr_tables.READING_COLUMNS,
    "openi": openi_tables.COLUMNS,
    "rsna": rsna_tables.COLUMNS,
    "nih": ["Image Index", "Finding Labels"],
    "nih-adjudicated": ["Image Index", *ADJUDICATED],
}
# Those of the second table, where a line of the first is a study or a report and not a film.
METADATA_COLUMNS = {
    "mimic": ["dicom_id", "subject_id", "study_id", "ViewPosition"],
    "openi": openi_tables.METADATA_COLUMNS,
}
OPTIONS = {f"--from {name}": columns for name, columns in COLUMNS.items()}
OPTIONS["--from vindr (boxes)"] = vindr_tables.BOX_COLUMNS
OPTIONS |= {f"--metadata of {name}": columns for name, columns in METADATA_COLUMNS.items()}


def read_chexpert(path, unmentioned):
    """Yield the films of CheXpert-v1.0's train.csv, valid.csv, or the test set's table.

    The test set's table has no column for the view: it is in the name, view1_frontal.jpg.

    Args:
        path: of the table.
        unmentioned: 0 or None (unknown), for a finding that a report does not mention.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in table_rows(path, COLUMNS["chexpert"], OPTIONS):
        found = re.search(r"/(patient\d+)/", row["Path"])
        if not found:
            raise UserError(
                f"{where}: want a path with /patient00001/ in it, got {row['Path'][:120]!r}; "
                "correct the line"
            )
        view = row.get("Frontal/Lateral")
        frontal = "_frontal." in row["Path"] if view is None else view == "Frontal"
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
    for where, row in table_rows(path, COLUMNS["mimic"], OPTIONS):
        study = (row["subject_id"], row["study_id"])
        check_once(study not in studies, where, f"study {row['study_id']}")
        studies[study] = _chexpert_labels(where, row, unmentioned)
    for where, row in table_rows(metadata, METADATA_COLUMNS["mimic"], OPTIONS):
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
            raise wrong_cell(where, "1.0, 0.0, -1.0 or nothing", finding, cell)
        labels[name] = STATES[cell] if cell else unmentioned
    return labels


def read_padchest(path):
    """Yield the films of PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in table_rows(path, COLUMNS["padchest"], OPTIONS):
        name = f"{row['ImageDir']}/{row['ImageID']}"
        frontal = row["Projection"] in ("PA", "AP", "AP_horizontal")
        is_broken = row["ImageID"] in PADCHEST_BROKEN
        labels = None if is_broken else _padchest_labels(where, row["Labels"])
        yield Film(where, name, row["PatientID"], frontal, labels)


def _padchest_labels(where, text):
    """Return class -> 1, 0 or None, of "['pneumonia', 'cardiomegaly']"; None if it says nothing."""
    if text in ("", "nan"):  # the published file has "nan" in 103 rows: no report was labelled
        return None
    if not re.fullmatch(r"\[('[^']*'(, ?)?)*\]", text):
        raise wrong_cell(where, "findings as in ['pneumonia', 'nodule']", "Labels", text)
    findings = {finding.strip() for finding in re.findall(r"'([^']*)'", text)}
    if findings <= {"", "suboptimal study"} or "exclude" in findings:
        return None
    # An empty item is a sentence that nobody labelled. "unchanged" relies on an earlier report for
    # what it does not name, unless the film is called normal.
    is_open = "" in findings or ("unchanged" in findings and "normal" not in findings)
    absent = None if is_open else 0
    # "normal" beside a finding is a contradiction: the finding is unknown.
    present = None if "normal" in findings else 1
    return {name: absent if findings.isdisjoint(of) else present for name, of in PADCHEST.items()}


def read_nih(path):
    """Yield the films of Data_Entry_2017.csv or Data_Entry_2017_v2020.csv: all are frontal.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in table_rows(path, COLUMNS["nih"], OPTIONS):
        if "Nodule or mass" in row:
            raise UserError(
                f"{path}: this is Google's table of films that radiologists labelled; --from nih "
                "would take the labels of the reports; give --from nih-adjudicated"
            )
        findings = set(row["Finding Labels"].split("|"))
        strange = findings.difference(NIH_FINDINGS, {"No Finding"})
        if strange:
            raise UserError(
                f"{where}: want findings of the 14 or 'No Finding', got {min(strange)[:80]!r}; "
                "correct the line"
            )
        labels = {name: int(name in findings) for name in NIH_FINDINGS}
        # As in the film's name, which the label lists go by; the table has "1" for "00000001".
        film = row["Image Index"]
        yield Film(where, film, patient(film), True, labels)


def read_nih_adjudicated(path):
    """Yield the films of Google's table: NIH films that three radiologists labelled.

    Its columns beside NIH's are Majkowska et al. 2020 (doi 10.1148/radiol.2019191293). "Nodule or
    mass" does not tell the two apart: NO is 0 for both, YES leaves both unknown. "Airspace opacity"
    and "Fracture" are none of the 14 classes; what is not of them is kept as a column.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    for where, row in table_rows(path, COLUMNS["nih-adjudicated"], OPTIONS):
        for finding in ADJUDICATED:
            if row[finding] not in ("YES", "NO"):
                raise wrong_cell(where, "YES or NO", finding, row[finding])
        labels = {finding: int(row[finding] == "YES") for finding in ADJUDICATED}
        labels["Mass"] = labels["Nodule"] = None if labels["Nodule or mass"] else 0
        film = row["Image Index"]
        yield Film(where, film, patient(film), True, labels)
