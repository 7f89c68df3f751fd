"""The RSNA Pneumonia Detection Challenge: films of NIH's that radiologists read, a line a box."""

import contextlib
import json

from films.label_lists import is_nih_name, patient
from public_data.finding_names import RSNA
from public_data.nih_tables import box_sides
from public_data.table_rows import Film, table_rows, wrong_cell
from runtime.files import UserError

SIDES = ["x", "y", "width", "height"]
((FINDING, TARGET),) = RSNA.items()
COLUMNS = ["patientId", *SIDES, TARGET]


def read_rsna(path, mapping, others):
    """Yield the films of stage_2_train_labels.csv, with the radiologists' boxes.

    Args:
        path: of the table.
        mapping: path of RSNA's pneumonia-challenge-dataset-mappings_2018.json, which has the name
            of each film in ChestX-ray14; None: films are named as in stage_2_train_images/, and
            whose they are is unknown, as a patientId of the table is a film.
        others: as in `table_rows`.

    Raises:
        UserError: naming the line, or the film, that is not as it should be.
    """
    nih_names = _nih_names(mapping) if mapping else None
    films = {}  # id -> Film
    for where, row in table_rows(path, COLUMNS, others):
        film_id, target = row["patientId"], row[TARGET]
        if target not in ("0", "1"):
            raise wrong_cell(where, "0 or 1", TARGET, target)
        labels = {FINDING: int(target)}
        if film_id not in films:
            name, whose = f"stage_2_train_images/{film_id}.dcm", ""
            if nih_names is not None:
                name = _nih_name(where, film_id, nih_names, mapping)
                whose = patient(name)
            films[film_id] = Film(where, name, whose, True, labels, [])
        if films[film_id].labels != labels:
            raise UserError(
                f"{where}: {film_id} has Target 0 and 1 ({films[film_id].where}); correct one"
            )
        if labels[FINDING]:
            films[film_id].boxes.append((FINDING, *_sides(where, row)))
    yield from films.values()


def _sides(where, row):
    cells = [row[name] for name in SIDES]
    if sides := box_sides(cells):
        return sides
    raise UserError(
        f"{where}: want x, y, width and height of a box, as Target is 1, got "
        f"{','.join(cells)[:80]!r}; correct the line"
    )


def _nih_names(path):
    """Return film of RSNA -> film of ChestX-ray14."""
    with (
        contextlib.suppress(ValueError, TypeError, KeyError, RecursionError),
        open(path, encoding="utf-8") as file,
    ):
        names = {each["subset_img_id"]: each["img_id"] for each in json.load(file)}
        if all(map(is_nih_name, names.values())):
            return names
    raise UserError(
        f"{path}: want RSNA's pneumonia-challenge-dataset-mappings_2018.json, a list of "
        "objects with subset_img_id and img_id, got something else; download it again"
    )


def _nih_name(where, film_id, nih_names, mapping):
    if film_id not in nih_names:
        raise UserError(
            f"{where}: film {film_id[:80]!r} is not in {mapping}; give the files of one release"
        )
    return nih_names[film_id]
