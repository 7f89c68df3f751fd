"""Films of one or two patients: figures without intervals, in everything that is written."""

import json

import numpy as np

from evaluation.figures import measure, measure_subgroups, measure_thresholds
from evaluation.printed_tables import show_intervals, show_subgroups
from evaluation.subgroup_plots import draw_group_figures
from evaluation.written_figures import for_json, is_mean_unsure
from films.label_lists import CLASS_NAMES


def test_a_mean_is_unsure_where_most_of_its_classes_are():
    """Of 13 classes that somebody has, 7 and 6 with fewer than 10 patients."""
    assert is_mean_unsure([9] * 7 + [10] * 6 + [0]) and not is_mean_unsure([9] * 6 + [10] * 7 + [0])


def test_two_patients_have_figures_and_no_intervals(capsys):
    rng = np.random.default_rng(0)
    labels = (rng.random((160, 14)) < 0.5).astype(np.float64)
    probs, patients = rng.random((160, 14)), np.arange(160) % 2
    labels[:, 13] = 0
    thresholds = np.full(14, 0.9)
    metrics = measure(labels, probs, patients)
    metrics["thresholds"] = measure_thresholds(labels, probs, patients, thresholds)
    groups = {"sex": {"F": np.arange(80), "M": np.arange(80, 160)}}
    metrics |= measure_subgroups(labels, probs, patients, groups, thresholds)
    figures, metrics = metrics, for_json(metrics)
    json.dumps(metrics, allow_nan=False)
    assert metrics["auroc"]["Mass"] is not None
    assert metrics["auroc_95_percent"]["Mass"] == [None, None]
    assert metrics["positive_patients"]["Mass"] == 2
    # The mean is over 13 classes of two patients each; a gap is of two patients.
    assert metrics["subgroup_gaps"]["sex"]["sensitivity"]["Mass"]["gap_95_percent"] == [None, None]
    draw_group_figures(figures)
    show_intervals(figures)
    show_subgroups(figures)
    printed = capsys.readouterr().err
    assert "  Mass *" in printed and "(no interval)" in printed and "nan to nan" not in printed
    assert "fewer than 10 patients with the finding" in printed and "Hernia *" not in printed
    assert "  mean *" in printed and "most classes of the mean are such" in printed
    assert metrics["positive_patients"][CLASS_NAMES[13]] == 0
