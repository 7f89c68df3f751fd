"""All figures that eval.py was asked for: measured, printed, and returned for metrics.json."""

import os
import sys
from typing import NamedTuple

import numpy as np

from evaluation import printed_tables
from evaluation.class_order import other_order
from evaluation.eval_folder import source_of
from evaluation.figures import (
    measure,
    measure_calibration,
    measure_difference,
    measure_other_labels,
    measure_subgroups,
    measure_thresholds,
    measure_unions,
    measure_without_films,
    participant_flow,
)
from evaluation.heat_maps import BoxedFilms
from evaluation.predictions_csv import mean_predictions
from evaluation.tested_films import union_probs
from evaluation.written_figures import for_json
from films.label_lists import CLASS_NAMES, LabelList
from runtime.files import file_facts, write_json


class Beside(NamedTuple):
    """What is read beside the test list, None where it was not asked for.

    Attributes:
        data: what is known of the films, for metrics.json.
        unions: list of `Union`.
        union_labels: of the tested films, `[N, U]`.
        other_list: facts of the file with other labels.
        other_labels: of classes and unions by that list, `[N, 14 + U]`.
        validation: the films that thresholds were chosen on, a `LabelList`.
        chosen: the thresholds' "from" and "rule".
        thresholds, union_thresholds: `[C]` and `[U]`.
        reference: what operating_points.json will hold.
        groups: dict of dicts of indices of films, by sex, age and view.
        facts: dict from a fact of the films' table to its numbers, `[N]`.
        boxed: a `BoxedFilms`.
    """

    data: dict
    unions: list
    union_labels: np.ndarray
    other_list: dict | None = None
    other_labels: np.ndarray | None = None
    validation: LabelList | None = None
    chosen: dict | None = None
    thresholds: np.ndarray | None = None
    union_thresholds: np.ndarray | None = None
    reference: dict | None = None
    groups: dict | None = None
    facts: dict | None = None
    boxed: BoxedFilms | None = None


def measure_all(listed, probs, beside, maps=None, with_intervals=True):
    """Measure all that was asked for, print it, and return it: a dict of arrays (see `figures`).

    Args:
        listed: the tested films, a `LabelList`.
        probs: float `[N, C]`.
        beside: a `Beside`.
        maps: a `MapSource`, where there are boxes.
        with_intervals: 95 % intervals too.
    """
    measured, thresholds = (listed.labels, probs, listed.patients), beside.thresholds
    figures = measure(*measured, with_intervals)
    figures["flow"] = participant_flow(listed, probs, beside.validation)
    printed_tables.show_aurocs(figures)
    if text := other_order(listed.labels, probs):
        printed_tables.say_wrapped(f"warning: {text}")
    if thresholds is not None:
        found = measure_thresholds(*measured, thresholds, with_intervals)
        figures["thresholds"] = beside.chosen | found
        printed_tables.show_thresholds(figures["thresholds"])
    figures |= _measure_further(listed, probs, beside, with_intervals)
    if beside.reference:
        found = measure_calibration(listed.labels, probs, beside.reference)
        figures["calibration"] = {"from": beside.chosen["from"], **found}
        printed_tables.show_calibration(figures["calibration"])
    if beside.groups is not None:
        figures |= measure_subgroups(*measured, beside.groups, thresholds, with_intervals)
        printed_tables.show_subgroups(figures)
        figures["auroc_without_films"] = measure_without_films(listed.labels, beside.facts)
        printed_tables.show_without_films(figures)
    if boxed := beside.boxed:
        figures["localization"] = {
            "boxes": file_facts(boxed.path),
            "films": len({box.film for box in boxed.boxes}),
            "by_class": boxed.measure(maps.of(boxed.indices)),
        }
        printed_tables.show_localization(figures["localization"])
    return figures


def _measure_further(listed, probs, beside, with_intervals):
    """Measure and print what is no class of its own: unions, and the same films' other labels."""
    figures, unions, labels = {}, beside.unions, beside.union_labels
    merged = union_probs(unions, probs)
    if unions:
        measured = labels, merged, listed.patients, beside.union_thresholds
        figures["unions"] = measure_unions(unions, *measured, with_intervals)
        printed_tables.show_unions(figures["unions"])
    if beside.other_labels is not None:
        found = measure_other_labels(
            np.hstack([listed.labels, labels]),
            beside.other_labels,
            np.hstack([probs, merged]),
            listed.patients,
            [*CLASS_NAMES, *(union.name for union in unions)],
        )
        figures["other_labels"] = {"list": beside.other_list, "by_finding": found}
        printed_tables.show_other_labels(figures["other_labels"])
    return figures


def compare(sides, test_list, listed, output_dir=None):
    """Print how two networks differ on the same films, class by class.

    Args:
        sides: two lists of predictions.csv, the networks of either side.
        test_list: path of the films' list.
        listed: the films of it that are tested, a `LabelList`.
        output_dir: where comparison.json goes, or None.
    """
    names, labels, patients = listed
    a, b = (mean_predictions(paths, names) for paths in sides)
    figures = measure_difference(labels, a, b, patients)
    printed_tables.show_difference(figures, *sides)
    if output_dir:
        a, b = (source_of(paths)["predictions"] for paths in sides)
        path = os.path.join(output_dir, "comparison.json")
        sources = {"a": a, "b": b, "test_list": file_facts(test_list)}
        write_json(path, sources | for_json(figures))
        print(f"wrote {path}", file=sys.stderr)
