import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve

from dataset import CLASS_NAMES
from evaluation import report_plots
from evaluation.calibration import (
    equal_mass,
    expected_calibration_error,
    reliability_curve,
    share_intervals,
)


def test_bins_of_equal_mass_are_scikit_learn_s():
    rng = np.random.default_rng(0)
    for probs in (rng.random(997) ** 4, (rng.random(997) ** 4).round(2)):  # with ties, too
        labels = rng.random(997) < probs
        observed, predicted = calibration_curve(labels, probs, n_bins=10, strategy="quantile")
        ours = reliability_curve(labels, probs, equal_mass)
        np.testing.assert_allclose(ours[0], predicted, atol=1e-12)
        np.testing.assert_allclose(ours[1], observed, atol=1e-12)
        assert ours[2].sum() == len(labels)


def test_bins_of_equal_mass_see_what_one_bin_of_a_tenth_hides():
    # A rare finding: 20 of 1,000 films, and probabilities that are right on average and nowhere.
    labels = np.repeat([1, 0], [20, 980])
    probs = np.full(1000, 0.02) + np.linspace(0, 1e-6, 1000)
    hidden = expected_calibration_error(labels[:, None], probs[:, None])
    seen = expected_calibration_error(labels[:, None], probs[:, None], equal_mass)
    assert hidden == pytest.approx([0], abs=1e-6)
    # One tenth of the films has a share of 0.2, nine tenths have 0: 0.1 * 0.18 + 0.9 * 0.02.
    assert seen == pytest.approx([0.036], abs=1e-6)


def wilson(positives, films):
    found = binomtest(positives, films).proportion_ci(method="wilson")
    return found.low, found.high


def test_intervals_of_independent_films_are_wilson_s():
    labels = np.array([1, 0, 0, 0, 0, 0, 1, 1, 1])
    bin_of = np.array([0, 0, 0, 0, 2, 2, 2, 2, 2])  # bin 1 has no films
    low, high = share_intervals(labels, bin_of, np.arange(9))
    assert [low[0], high[0]] == pytest.approx(wilson(1, 4), abs=1e-6)
    assert [low[1], high[1]] == pytest.approx(wilson(3, 5), abs=1e-6)


def test_films_of_a_patient_count_for_less():
    labels, one_bin = np.array([1, 0, 0, 0, 1]), np.zeros(5, int)
    # Three films of each that agree are one.
    low, high = share_intervals(labels.repeat(3), one_bin.repeat(3), np.arange(5).repeat(3))
    assert (low[0], high[0]) == pytest.approx(wilson(2, 5), abs=1e-6)
    # No film positive, of two patients: as much as two negative films tell.
    low, high = share_intervals(np.zeros(40), np.zeros(40, int), np.arange(2).repeat(20))
    assert (low[0], high[0]) == pytest.approx(wilson(0, 2), abs=1e-6)
    # One patient alone is one film, whatever its films say.
    low, high = share_intervals(np.array([0, 1]), np.zeros(2, int), ["a", "a"])
    assert high[0] - low[0] > 0.85


def test_a_rare_finding_is_drawn_on_logarithmic_axes_with_the_bins_that_found_none():
    labels = np.zeros((1000, 14), np.uint8)
    probs = np.tile(np.linspace(0.0001, 0.05, 1000)[:, None], 14).astype(np.float32)
    labels[900::10, :] = 1  # ten positives, all among the likeliest tenth
    probs[:, 1] *= 18  # the second class is no rare one: its likeliest tenth has 0.86
    metrics = {"expected_calibration_error_equal_mass": dict.fromkeys(CLASS_NAMES, 0.01)}
    axes = Figure().subplots(1, 2)
    for c in range(2):
        draw = report_plots._DRAW["reliability"]
        draw(axes[c], metrics, c, labels[:, c], probs[:, c], np.arange(1000))
    assert [each.get_xscale() for each in axes] == ["log", "linear"]
    empty, diagonal, curve = axes[0].lines
    assert (len(empty.get_xdata()), empty.get_marker()) == (9, "v")
    assert np.isnan(curve.get_ydata()).sum() == 9 and curve.get_ydata()[-1] == 0.1
    assert len(diagonal.get_xdata()) == 2
