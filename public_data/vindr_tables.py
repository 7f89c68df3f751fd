"""VinDr-CXR's labels: PhysioNet's line for each reading, and Kaggle's line for each box."""

from public_data.finding_names import VINDR
from public_data.table_rows import STATES, Film, check_once, table_rows, wrong_cell

READING_COLUMNS = ["image_id", *VINDR.values()]
BOX_COLUMNS = ["image_id", "class_name", "class_id", "rad_id"]
# Kaggle's table has 14 findings: Edema, Emphysema and Pneumonia were not published there.
IN_BOXES = {c: f for c, f in VINDR.items() if c not in ("Edema", "Emphysema", "Pneumonia")}
BOX_NAMES = {
    *IN_BOXES.values(),
    "Aortic enlargement",
    "Calcification",
    "ILD",
    "Lung Opacity",
    "Nodule/Mass",
    "Other lesion",
    "No finding",
}


def read_vindr(path, readers, others):
    """Yield the films of VinDr-CXR: image_labels_train.csv, image_labels_test.csv, or train.csv.

    The last is Kaggle's, with a line for each box. Training films have three radiologists.

    Args:
        path: of the table.
        readers: "most" (two of three) or "any", whose yes makes a finding present.
        others: as in `table_rows`.

    Raises:
        UserError: naming the line that is not as it should be.
    """
    films, folder = {}, "test"  # image -> (where, reader -> class -> 0 or 1)
    for where, row in table_rows(path, [READING_COLUMNS, BOX_COLUMNS], others):
        image, reader = row["image_id"], row.get("rad_id", "")
        if "rad_id" in row:
            folder = "train"
        readings = films.setdefault(image, (where, {}))[1]
        if "class_name" in row:
            _add_box(where, row, readings.setdefault(reader, dict.fromkeys(IN_BOXES, 0)))
        else:
            check_once(reader not in readings, where, " of ".join(filter(None, (image, reader))))
            readings[reader] = _reading(where, row)
    for image, (where, readings) in films.items():
        labels = _vote([*readings.values()], readers)
        # A patient's number is not published, and all films are postero-anterior.
        yield Film(where, f"{folder}/{image}.dicom", "", True, labels)


def _add_box(where, row, states):
    if row["class_name"] not in BOX_NAMES:
        raise wrong_cell(where, "one of VinDr's findings", "class_name", row["class_name"])
    for name, finding in IN_BOXES.items():
        if finding == row["class_name"]:
            states[name] = 1


def _reading(where, row):
    for finding in VINDR.values():
        if STATES.get(row[finding]) is None:
            raise wrong_cell(where, "0 or 1", finding, row[finding])
    return {name: STATES[row[finding]] for name, finding in VINDR.items()}


def _vote(readings, readers):
    """Return class -> 1, 0, or None where as many say yes as no."""
    yes = {name: sum(states[name] for states in readings) for name in readings[0]}
    if readers == "any":
        return {name: int(votes > 0) for name, votes in yes.items()}
    half = len(readings) / 2
    return {name: None if votes == half else int(votes > half) for name, votes in yes.items()}
