import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score

from evaluation.calibration import brier_score, expected_calibration_error, reliability_curve
from evaluation.intervals import intervals, ratio_estimate
from evaluation.thresholds import (
    choose_thresholds,
    net_benefit,
    rate_intervals,
    rates,
)


def films(seed=0, count=300):
    rng = np.random.default_rng(seed)
    labels = rng.random((count, 3)) < [0.3, 0.05, 0.5]
    probs = np.clip(rng.random((count, 3)) * 0.8 + 0.2 * labels, 0, 1).round(2).astype(np.float32)
    return labels, probs, rng.integers(0, 80, count)


def test_literal_thresholds():
    labels = np.array([0, 0, 1, 1, 0])[:, None]
    probs = np.array([0.1, 0.4, 0.35, 0.8, 0.2])[:, None]
    # From 0.35 on: both positives, one of three negatives: J = 1 - 1/3. From 0.8: 1/2.
    assert choose_thresholds(labels, probs, "youden") == [0.35]
    # From 0.35 on F1 = 4/5; from 0.8 on 2/3.
    assert choose_thresholds(labels, probs, "f1") == [0.35]
    found = rates(labels, probs, [0.35])
    assert {name: value[0] for name, value in found.items()} == pytest.approx(
        {"sensitivity": 1.0, "specificity": 2 / 3, "precision": 2 / 3, "f1": 0.8}
    )


@pytest.mark.parametrize("rule", ["youden", "f1"])
def test_no_other_threshold_is_better(rule):
    labels, probs, _ = films()
    chosen = choose_thresholds(labels, probs, rule)

    def worth(c, threshold):
        found = rates(labels[:, [c]], probs[:, [c]], [threshold])
        if rule == "f1":
            return found["f1"][0]
        return found["sensitivity"][0] + found["specificity"][0]

    for c in range(3):
        every = [worth(c, threshold) for threshold in np.unique(probs[:, c].astype(float))]
        assert worth(c, chosen[c]) == pytest.approx(max(every), abs=1e-12)


def test_rates_are_scikit_learn_s():
    labels, probs, _ = films()
    thresholds = [0.5, 0.6, 0.3]
    found = rates(labels, probs, thresholds)
    for c, threshold in enumerate(thresholds):
        called = probs[:, c].astype(float) >= threshold
        expected = {
            "sensitivity": recall_score(labels[:, c], called),
            "specificity": recall_score(~labels[:, c], ~called),
            "precision": precision_score(labels[:, c], called),
            "f1": f1_score(labels[:, c], called),
        }
        for name, value in expected.items():
            assert found[name][c] == pytest.approx(value, abs=1e-12)


def test_intervals_are_of_patients_sums():
    labels, probs, patients = films()
    thresholds = np.array([0.5, 0.6, 0.3])
    found = rate_intervals(labels, probs, patients, thresholds)
    ids = sorted(set(patients))
    for c, threshold in enumerate(thresholds):
        positive, called = labels[:, c], probs[:, c].astype(float) >= threshold
        parts = {
            "sensitivity": (called & positive, positive),
            "specificity": (~called & ~positive, ~positive),
            "precision": (called & positive, called),
            "f1": (called & positive, called | positive),
        }
        for rate, (part, whole) in parts.items():
            sums = [[[films[patients == i].sum()] for i in ids] for films in (part, whole)]
            low, high = intervals(ratio_estimate(*sums))[0]
            if rate == "f1":  # of precision and sensitivity, from the share of what is either
                low, high = 2 * low / (1 + low), 2 * high / (1 + high)
            assert found[rate][c] == pytest.approx([low, high], abs=1e-12)
            assert low < rates(labels, probs, thresholds)[rate][c] < high


def test_undefined_is_nan():
    labels, probs, patients = films()
    labels[:, 1] = False
    thresholds = choose_thresholds(labels, probs)
    assert np.isnan(thresholds[1]) and np.isfinite(thresholds[[0, 2]]).all()
    found = rates(labels, probs, thresholds)
    assert all(np.isnan(values[1]) for values in found.values())
    # Nothing called positive: no precision.
    assert np.isnan(rates(labels, probs, [2.0, 2.0, 2.0])["precision"]).all()
    assert np.isnan(rate_intervals(labels, probs, patients, thresholds)["f1"][1]).all()


def test_brier_score_and_reliability_curve_are_scikit_learn_s():
    labels, probs, _ = films()
    for c in range(3):
        expected = brier_score_loss(labels[:, c], probs[:, c].astype(float))
        assert brier_score(labels, probs)[c] == pytest.approx(expected, abs=1e-12)
        # Probabilities off the edges of the bins, which scikit-learn counts to the lower one.
        off = probs[:, c].astype(float) * 0.997 + 0.001
        observed, predicted = calibration_curve(labels[:, c], off, n_bins=10)
        ours = reliability_curve(labels[:, c], off)
        np.testing.assert_allclose(ours[0], predicted, atol=1e-12)
        np.testing.assert_allclose(ours[1], observed, atol=1e-12)
        assert ours[2].sum() == len(labels)


def test_calibration_error_of_known_answer():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 0])[:, None]
    probs = np.array([0.25] * 4 + [0.95] * 4)[:, None]
    # A quarter of the first four is positive, as foretold; three quarters of the others, not 0.95.
    assert expected_calibration_error(labels, probs) == pytest.approx([0.5 * 0.2])


def test_net_benefit_is_its_definition():
    # At 0.2 a false alarm costs a quarter: 2 found, 1 alarm of 5 films; all: 2 found, 3 alarms.
    labels, probs = [0, 0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8, 0.19]
    ours, of_all = net_benefit(labels, probs, [0.2])
    assert ours == pytest.approx([(2 - 1 / 4) / 5]) and of_all == pytest.approx([(2 - 3 / 4) / 5])
    labels, probs, _ = films()
    thresholds = [0.01, 0.2, 0.25, 0.5]
    for c in range(3):
        ours, of_all = net_benefit(labels[:, c], probs[:, c], thresholds)
        for t, threshold in enumerate(thresholds):
            called = probs[:, c].astype(float) >= threshold
            # With the rates, as decision-curve papers also write it.
            share, odds = labels[:, c].mean(), threshold / (1 - threshold)
            sensitivity = recall_score(labels[:, c], called)
            false = 1 - recall_score(~labels[:, c], ~called)
            expected = sensitivity * share - false * (1 - share) * odds
            assert ours[t] == pytest.approx(expected, abs=1e-12)
            assert of_all[t] == pytest.approx(share - (1 - share) * odds, abs=1e-12)
