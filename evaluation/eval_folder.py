"""The folder that eval.py writes, and what is known of what went into it.

Nothing in the folder is of another evaluation than the rest. (`--compare` adds comparison.json,
which names its two files.)
"""

import glob
import os
import tempfile

from evaluation.predictions_csv import write_failed, write_predictions
from evaluation.written_figures import for_json
from public_data.folder_check import OFFICIAL, names_digest
from public_data.sources import LABELS
from runtime.files import UserError, file_facts, read_json, sha256, write_json
from weights.trained_sizes import shown_window

# What metrics.json says of the network behind predictions.
NETWORK_FACTS = ("weights", "crops", "crop_size", "resize", "window", "precision")
NETWORK_FACTS += ("device", "hardware", "engine")
# Beside the lists: a line or two of text that say what the films are. The page shows it.
SOURCE_FILE = "SOURCE.txt"
SOURCE_LENGTH = 1000  # characters, at most


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
    several = predictions if predictions and len(predictions) > 1 else ()
    if os.path.realpath(mean) in map(os.path.realpath, several):
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
    return {
        "predictions": facts | members,
        **{key: before[key] for key in NETWORK_FACTS if key in before},
    }


def weights_of(predictions):
    """Return the paths of the weights that predictions are from, as far as that is known."""
    known = source_of(predictions)
    members = known["predictions"].get("mean_of", [known])
    return [member["weights"]["path"] for member in members if "weights" in member]


def why_of_others(theirs, ours):
    """Say in what the network behind some figures differs from another; None: in nothing known.

    Args:
        theirs, ours: dicts with what is known of `NETWORK_FACTS`, as `source_of` returns them.
    """
    weights = (facts.get("weights") for facts in (theirs, ours))
    network, tested = (each.get("sha256") if isinstance(each, dict) else each for each in weights)
    if network and tested and network != tested:
        return "they are of other weights"
    for key in ("crops", "crop_size", "resize", "window"):
        if key in theirs and key in ours and theirs[key] != ours[key]:
            words = (_option(key, facts[key]) for facts in (theirs, ours))
            return "they are of {}, not {}".format(*words)
    return None


def _option(key, value):
    name = f"--{key.replace('_', '-')}"
    if value is None:
        return f"no {name}"
    return f"{name} {shown_window(value) if key == 'window' else value}"


def begin_results(folder, names, probs, reference=None, failed=()):
    """Write predictions.csv, and remove what was computed from those before.

    Args:
        folder: where.
        names: of N films.
        probs: float32 `[N, C]`.
        reference: what operating_points.json is to hold, or None: no such file.
        failed: dict from films that could not be read to why; empty: no failed.csv.
    """
    derived = ("metrics.json", "operating_points.json", "model_card.md", "report.html")
    derived += ("failed.csv", "doubted_films.csv", "figures/*.png", "figures/*.svg")
    for pattern in derived:
        for path in glob.glob(os.path.join(glob.escape(folder), pattern)):
            os.remove(path)
    write_predictions(os.path.join(folder, "predictions.csv"), names, probs)
    if failed:
        write_failed(os.path.join(folder, "failed.csv"), failed)
    if reference:
        write_json(os.path.join(folder, "operating_points.json"), reference)


def write_metrics(folder, figures):
    """Write metrics.json, with the digest of the predictions beside it."""
    digest = sha256(os.path.join(folder, "predictions.csv"))
    write_json(
        os.path.join(folder, "metrics.json"), for_json(figures) | {"predictions_sha256": digest}
    )


def describe_data(test_list, names, folder):
    """Tell what is known of the films and labels of a list.

    Args:
        test_list: path of the label list.
        names: of its films.
        folder: where a `SOURCE_FILE` may be.

    Returns:
        dict for JSON: "source", the folder's own words, or None; "list": "reference" for the
        reference project's test list, on whose films and labels figures are published, "NIH" for
        the films of NIH's own test list, whatever their labels, or None. A folder with words of
        its own is taken at them: its list says nothing more.

    Raises:
        UserError: the folder's words are no text.
    """
    source = _own_words(os.path.join(folder, SOURCE_FILE))
    digest, known = sha256(test_list), None
    if digest == LABELS["test_list.txt"][1][1]:
        known = "reference"
    elif names_digest(names) == OFFICIAL["test"]:
        known = "NIH"
    return {"source": source, "list": None if source else known}


def _own_words(path):
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        content = file.read(4 * SOURCE_LENGTH + 1)  # a character has up to four bytes
    try:
        words = " ".join(content.decode("utf-8").split())
        got = f"{len(words)} characters" if len(words) > SOURCE_LENGTH else "none"
    except UnicodeDecodeError:
        words, got = "", "bytes that are not UTF-8"
    if not 0 < len(words) <= SOURCE_LENGTH:
        raise UserError(
            f"{path}: want up to {SOURCE_LENGTH} characters of text that say what the films are, "
            f"got {got}; write them, or remove the file"
        )
    return words


def _metrics(folder):
    return read_json(os.path.join(folder, "metrics.json"))
