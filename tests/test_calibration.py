import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.isotonic import IsotonicRegression

from evaluation import report_plots
from evaluation.calibration import (
    calibrate,
    calibration_line,
    equal_mass,
    expected_calibration_error,
    fit_calibration,
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
    metrics = {"expected_calibration_error_equal_mass": np.full(14, 0.01)}
    axes = Figure().subplots(1, 2)
    for c in range(2):
        draw = report_plots._DRAW["reliability"]
        draw(axes[c], metrics, c, labels[:, c], probs[:, c], np.arange(1000))
    assert [each.get_xscale() for each in axes] == ["log", "linear"]
    empty, diagonal, curve = axes[0].lines
    assert (len(empty.get_xdata()), empty.get_marker()) == (9, "v")
    assert np.isnan(curve.get_ydata()).sum() == 9 and curve.get_ydata()[-1] == 0.1
    assert len(diagonal.get_xdata()) == 2


def rare_finding():
    """1,000 films, 60 of them with a finding, and probabilities that are much too high."""
    rng = np.random.default_rng(0)
    labels = np.arange(1000) < 60
    return labels, expit(rng.normal(0.5, 1, 1000) + labels).astype(np.float32)


def test_platt_s_line_is_that_of_his_paper():
    labels, probs = rare_finding()
    # His targets: (60 + 1) / (60 + 2) and 1 / (940 + 2).
    targets, logits = np.where(labels, 61 / 62, 1 / 942), logit(probs.astype(float))

    def loss(line):
        score = line[0] * logits + line[1]
        return (np.logaddexp(0, score) - targets * score).sum()

    expected = minimize(loss, [1, 0], method="BFGS", options={"gtol": 1e-6}).x
    fitted = fit_calibration(labels, probs)
    assert [fitted["slope"], fitted["intercept"]] == pytest.approx(expected, abs=1e-4)
    calibrated = calibrate(probs, fitted)
    assert calibrated.mean() == pytest.approx(0.06, abs=0.002)  # as many as there are
    order = np.argsort(probs, kind="stable")
    assert (np.diff(calibrated[order]) >= 0).all()
    # Two positives, above all others, make nothing certain.
    fitted = fit_calibration([0] * 98 + [1] * 2, np.linspace(0.01, 0.9, 100))
    assert calibrate(1.0, fitted) < 1 and np.isfinite(fitted["slope"])


def test_isotonic_calibration_is_scikit_learn_s():
    labels, probs = rare_finding()
    asked = np.concatenate([[0, 1], np.linspace(0.01, 0.99, 77)])  # outside what was seen, too
    expected = IsotonicRegression(out_of_bounds="clip").fit(probs.astype(float), labels)
    expected = expected.predict(asked)
    found = calibrate(asked, fit_calibration(labels, probs, "isotonic"))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_nothing_is_fitted_where_nothing_can_be(method):
    probs = np.linspace(0.1, 0.9, 9)
    assert fit_calibration(np.zeros(9), probs, method) is None
    assert fit_calibration(np.ones(9), probs, method) is None
    assert fit_calibration(np.arange(9) % 2, np.full(9, 0.3), method) is None
    if method == "platt":  # the likeliest films are those without: a line would turn them round
        assert fit_calibration(np.arange(9) < 4, probs, method) is None
    assert np.isnan(calibrate(probs, None)).all()


def test_a_calibration_line_of_known_answer():
    # One of five at 0.2, three of four at 0.75: as foretold.
    labels = np.array([1, 0, 0, 0, 0, 1, 1, 1, 0])
    right = np.array([0.2] * 5 + [0.75] * 4)
    # Twice as extreme, and odds that are e times too high.
    extreme, high = expit(2 * logit(right)), expit(logit(right) + 1)
    slope, intercept = calibration_line(
        np.column_stack([labels, labels, labels]), np.column_stack([right, extreme, high])
    )
    assert slope == pytest.approx([1, 0.5, 1], abs=1e-5)
    assert intercept[[0, 2]] == pytest.approx([0, -1], abs=1e-9)
    unknown = np.array([np.nan, *labels])[:, None]
    again = calibration_line(unknown, np.array([0.99, *right])[:, None])
    assert np.ravel(again) == pytest.approx([1, 0], abs=1e-5)
    # Without both kinds neither is defined; where 0.5 parts the kinds, no slope is steep enough.
    slope, intercept = calibration_line(
        np.array([[0, 0], [0, 1]]), np.array([[0.2, 0.2], [0.75, 0.8]])
    )
    assert np.isnan(slope).all() and np.isnan(intercept[0])
    assert intercept[1] == pytest.approx(0, abs=1e-9)  # 0.2 and 0.8 add up to 1
