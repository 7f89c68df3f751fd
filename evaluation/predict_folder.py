"""The folder that predict.py writes: tables, and pictures of films under their heat maps."""

import contextlib
import os
import tempfile

from evaluation.localization import MAP_LEVELS, boxes_at
from evaluation.operating_points import Meaning
from evaluation.predictions_csv import film_names, write_failed, write_predictions
from films.csv_rows import write_rows
from films.film_paths import FILM_EXTENSIONS
from films.label_lists import CLASS_NAMES
from inference.activation_maps import heat_map, resize_map
from runtime.files import UserError, write_whole

BOX_COLUMNS = ("Image Index", "Finding Label", "level", "x", "y", "w", "h")
FINDING_COLUMNS = ("Image Index", "Finding Label", "probability", *Meaning._fields, "decision")


@contextlib.contextmanager
def unfinished(folder):
    """Make a folder to write to within the results' own, which gets its files when all is well.

    Yields:
        Path of the folder. After an exception it is gone, and the results are as they were.
    """
    is_new = not os.path.exists(folder)
    os.makedirs(folder, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=folder) as partial:
            yield partial
            _remove_results(folder)
            for top, _, names in os.walk(partial):
                target = os.path.normpath(os.path.join(folder, os.path.relpath(top, partial)))
                os.makedirs(target, exist_ok=True)
                for name in names:
                    os.replace(os.path.join(top, name), os.path.join(target, name))
    except BaseException:
        if is_new:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
        raise


def _remove_results(folder):
    """Remove the tables of an earlier run, and its pictures."""
    table = os.path.join(folder, "predictions.csv")
    for film in film_names(table):
        for finding in CLASS_NAMES:
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, picture_name(film, finding)))
    for name in ("predictions.csv", "boxes.csv", "findings.csv", "failed.csv"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


def picture_name(film, finding):
    """Return the file name of a film's heat map."""
    stem, extension = os.path.splitext(film)
    # "1.2.840.3", as DICOM files are named, has no extension.
    return f"{stem if extension.lower() in FILM_EXTENSIONS else film}_{finding}.png"


def check_picture_names(films):
    """Raise UserError if pictures of two films would have one name."""
    film_of = {}
    for film in films:
        other = film_of.setdefault(picture_name(film, CLASS_NAMES[0]), film)
        if other != film:
            raise UserError(
                f"{film}: want films whose names differ by more than the extension, got {other} "
                "too; rename one, or leave out the pictures with --top 0"
            )


def draw_pictures(job):
    """Draw a film under its heat maps, in a worker process.

    Args:
        job: the folder to write to, the film's name, its pixels as they are, uint8 `[H, W]`, and
            a dict from finding to its probability and map, float32 `[h, w]`.

    Returns:
        Rows for `write_tables`: the regions that each of `MAP_LEVELS` marks, in pixels of the film.
    """
    folder, film, whole, maps = job
    boxes, shown = [], os.path.basename(film)
    for finding, (prob, activation) in maps.items():
        with write_whole(os.path.join(folder, picture_name(film, finding))) as file:
            heat_map(whole, activation, finding, prob, name=shown).save(file, "PNG")
        stretched = resize_map(activation, *whole.shape[::-1])
        for level in MAP_LEVELS:
            for left, top, right, bottom in boxes_at(stretched, level).tolist():
                if (right - left, bottom - top) == (whole.shape[1], whole.shape[0]):
                    continue  # the whole film says nothing of where
                boxes.append((film, finding, level, left, top, right - left, bottom - top))
    return boxes


def finding_rows(film, probs, known):
    """Return rows for `write_tables`: each finding of a film, and what its probability means.

    Args:
        film: its name.
        probs: float32 `[C]`.
        known: dict from class to `operating_points.Meaning`.
    """
    return [
        (film, name, prob, *known[name], known[name].decision(prob))
        for name, prob in zip(CLASS_NAMES, probs, strict=True)
    ]


def write_tables(folder, probs, boxes, findings, failed):
    """Write predictions.csv and, where there is something to list, the other tables.

    Args:
        folder: path.
        probs: dict from film to float32 `[C]`.
        boxes: rows of `draw_pictures`, for boxes.csv.
        findings: rows of `finding_rows`, for findings.csv.
        failed: dict from film to what is wrong with it.
    """
    write_predictions(os.path.join(folder, "predictions.csv"), probs.keys(), probs.values())
    tables = {"boxes.csv": (BOX_COLUMNS, boxes), "findings.csv": (FINDING_COLUMNS, findings)}
    for name, (columns, rows) in tables.items():
        if rows:
            write_rows(os.path.join(folder, name), columns, rows)
    if failed:
        write_failed(os.path.join(folder, "failed.csv"), failed)
