"""The folder that eval.py writes: nothing in it is of another evaluation than the rest.

(`--compare` adds comparison.json, which names its two files.)
"""

import glob
import os
import tempfile

from evaluation.predictions_csv import write_predictions
from runtime.files import UserError, file_facts, read_json, sha256, write_json

# What metrics.json says of the network behind predictions.
SOURCE = ("weights", "crops", "crop_size", "resize", "window", "precision", "device", "engine")
SOURCE += ("hardware",)


def check_folder(folder, predictions=None):
    """Make the folder, and fail now if it cannot be used, not after hours of work.

    Args:
        folder: where results will go.
        predictions: the files that are evaluated instead of a network, or None.

    Raises:
        UserError: the folder holds an evaluation with heat maps, which predictions cannot remake,
            or one of several files, which their mean would replace.
        OSError: the folder cannot be written to.
    """
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise UserError(f"{folder}: want a folder for the results, got a file; give another name")
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
    mean = os.path.join(folder, "predictions.csv")
    if predictions and len(predictions) > 1 and any(_same_file(path, mean) for path in predictions):
        raise UserError(
            f"{mean}: want a folder of its own for the mean of {len(predictions)} files, got the "
            "folder of one of them; give another --output-dir"
        )
    before = _metrics(folder)
    pictures = os.path.exists(os.path.join(folder, "report.html")) or "localization" in before
    if predictions and before and "predictions" not in before and pictures:
        raise UserError(
            f"{folder}: it holds an evaluation with heat maps, which {predictions[0]} cannot "
            "remake; give another --output-dir"
        )


def source_of(predictions):
    """Return what is known of predictions: their digests, and the networks that they are from.

    A network is taken from metrics.json in the same folder, if that was made of this file.

    Args:
        predictions: list of paths; of several, the mean was taken.
    """
    if len(predictions) > 1:
        members = [source_of([path]) for path in predictions]
        return {"predictions": {"mean_of": [each.pop("predictions") | each for each in members]}}
    facts = file_facts(predictions[0])
    before = _metrics(os.path.dirname(predictions[0]) or ".")
    made_of = before.get("predictions", {})
    if facts["sha256"] not in (before.get("predictions_sha256"), made_of.get("sha256")):
        return {"predictions": facts}
    members = {"mean_of": made_of["mean_of"]} if "mean_of" in made_of else {}
    return {"predictions": facts | members, **{key: before[key] for key in SOURCE if key in before}}


def begin_results(folder, names, probs):
    """Write predictions.csv, and remove what was computed from those before."""
    derived = ("metrics.json", "operating_points.json", "model_card.md", "report.html")
    for pattern in (*derived, "figures/*.png", "figures/*.svg"):
        for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
            os.remove(path)
    write_predictions(os.path.join(folder, "predictions.csv"), names, probs)


def write_metrics(folder, metrics):
    """Write metrics.json, with the digest of the predictions beside it."""
    metrics["predictions_sha256"] = sha256(os.path.join(folder, "predictions.csv"))
    write_json(os.path.join(folder, "metrics.json"), metrics)


def write_report(*arguments):
    """Write report.html and figures/: see `report_page.write_report`."""
    from evaluation import report_page  # here: what draws takes a second to load

    report_page.write_report(*arguments)


def _same_file(path, other):
    return os.path.realpath(path) == os.path.realpath(other)


def _metrics(folder):
    return read_json(os.path.join(folder, "metrics.json"))
