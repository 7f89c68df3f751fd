"""The published AUROCs beside those of a run: the table that reproduce.py ends with."""

import csv
import os

from evaluation.printed_tables import side_by_side
from metrics import PUBLISHED
from public_data.sources import LABELS, REFERENCE, WEIGHTS
from reproduction.results import listed_films
from runtime.files import file_digest, read_json, sha256


def final_table(places, result_dir, save_dir, pretrained):
    """Return the lines that are printed in the end and kept in table.txt.

    Args:
        places: `Places`.
        result_dir: has comparison.json.
        save_dir: of the training run.
        pretrained: what the run began from, of --pretrained.
    """
    folders = places.published, places.own
    theirs, ours = (read_json(os.path.join(folder, "metrics.json")) for folder in folders)
    comparison = read_json(os.path.join(result_dir, "comparison.json"))
    with open(os.path.join(save_dir, "metrics.csv"), newline="", encoding="utf-8") as file:
        epochs = sum(1 for _ in csv.DictReader(file))
    films, training = theirs["images"], len(listed_films(places.lists["train"]))
    counts = {
        "test films": [f"{n:,}" for n in (REFERENCE["test"][0], films, films)],
        "training films": [f"{n:,}" for n in (REFERENCE["train"][0],) * 2 + (training,)],
    }
    begin = "ImageNet weights" if pretrained == "imagenet" else "random weights"
    lines = [
        "AUROCs, in brackets 95 % intervals over patients.",
        "published: by arnoweng/CheXNet of its checkpoint. published, here: that checkpoint, "
        "evaluated here.",
        f"own: trained here, {epochs} epoch{'' if epochs == 1 else 's'} from {begin}.",
    ]
    if sha256(places.lists["test"]) != LABELS["test_list.txt"][1][1]:
        lines.append(
            f"The {films:,} films are not the published test list: the first column is of other "
            "films and does not compare."
        )
    kind, digest = WEIGHTS["model.pth.tar"][1]
    if file_digest(places.checkpoint, kind) != digest:
        lines.append(
            f"'published, here' is NOT of the published checkpoint: {places.checkpoint} has "
            "another digest."
        )
        counts["training films"][1] = "unknown"
    pages = [os.path.join(folder, "report.html") for folder in folders]
    table = side_by_side(PUBLISHED["arnoweng/CheXNet"], theirs, ours, comparison, counts)
    return [*lines, "", table, "", f"pages: {', '.join(pages)}"]
