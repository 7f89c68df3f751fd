import numpy as np
import pytest
from scipy.stats import t

from evaluation.intervals import (
    Estimate,
    auroc_estimate,
    average_precision_estimate,
    difference_estimate,
    difference_intervals,
    intervals,
    mean_estimate,
    p_values,
    ratio_estimate,
)


def auroc_by_pairs(labels, scores, weights):
    won = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)
    pairs = (weights * labels)[:, None] * (weights * (1 - labels))
    return (pairs * won).sum() / pairs.sum()


def precision_by_films(labels, scores, weights):
    reached = scores >= scores[:, None]  # [film, films called from its score on]
    precision = (reached @ (weights * labels)) / (reached @ weights)
    return (weights * labels * precision).sum() / (weights * labels).sum()


def by_brute_force(figure, labels, scores, patients, chance):
    """The interval of evaluation/intervals.py once more: numpy, a patient at a time."""
    names, step = sorted(set(patients)), 1e-4
    value = figure(labels, scores, np.ones(len(labels)))
    with_finding = {name: sum(labels[patients == name]) for name in names}
    positives = sum(with_finding.values())
    count = sum(films > 0 for films in with_finding.values())
    added = 0.2 * positives / count
    centre = (positives * value + added * chance) / (positives + added)
    moves = [added * (chance - centre) / (positives + added)]
    for name in names:
        up, down = (
            figure(labels, scores, np.where(patients == name, 1 + sign * step, 1.0))
            for sign in (1, -1)
        )
        own = with_finding[name]
        move = (up - down) / (2 * step) * positives / (positives + added)
        move += own * (value - centre) / (positives + added)
        move /= 1 - own / (positives + added)
        if figure is auroc_by_pairs:
            negatives = sum(labels == 0)
            move_of_negatives = 1 - sum((labels == 0) & (patients == name)) / negatives
            # The positives' own term is of patients who are left as they are.
            shift = own * (value - centre) / (positives + added) / (1 - own / (positives + added))
            move = (move - shift) / move_of_negatives + shift
        moves.append(move)
    variance = sum(move**2 for move in moves)
    freedom = min(2 * variance**2 / sum(move**4 for move in moves), count - 1)
    half = t.ppf(0.975, freedom) * np.sqrt(variance) / (centre * (1 - centre))
    middle = np.log(centre / (1 - centre))
    return [1 / (1 + np.exp(half - middle)), 1 / (1 + np.exp(-half - middle))]


def films(rng, patients=40, classes=3):
    """Patients with 1 to 5 films each, whose scores are alike; ties."""
    patient_of = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    base = rng.normal(size=(patients, classes))[patient_of]
    labels = (base + rng.normal(size=base.shape) > 1).astype(np.float64)
    scores = np.round(base + labels + rng.normal(size=base.shape), 1)
    order = rng.permutation(len(patient_of))
    return labels[order], scores[order], patient_of[order]


def test_intervals_are_those_of_brute_force_over_patients():
    rng = np.random.default_rng(0)
    for _ in range(5):
        labels, scores, patients = films(rng)
        found = intervals(auroc_estimate(labels, scores, patients))
        precisions = intervals(average_precision_estimate(labels, scores, patients)[0])
        for c, column in enumerate(zip(labels.T, scores.T, strict=True)):
            positive = column[0] == 1
            assert len(set(patients[positive])) < len(set(patients[~positive]))
            expected = by_brute_force(auroc_by_pairs, *column, patients, 0.5)
            np.testing.assert_allclose(found[c], expected, rtol=1e-5)
            expected = by_brute_force(precision_by_films, *column, patients, column[0].mean())
            np.testing.assert_allclose(precisions[c], expected, rtol=1e-5)


def test_bias_of_average_precision_is_half_the_second_derivative_by_patients():
    labels, scores, patients = films(np.random.default_rng(1))
    scores[:, 0] += np.arange(len(scores)) * 1e-6  # without ties too
    step = 1e-3
    for c, bias in enumerate(average_precision_estimate(labels, scores, patients)[1]):
        column = labels[:, c], scores[:, c]
        value = precision_by_films(*column, np.ones(len(labels)))
        second = sum(
            precision_by_films(*column, np.where(patients == name, 1 + sign * step, 1.0)) - value
            for name in set(patients)
            for sign in (1, -1)
        )
        assert bias == pytest.approx(second / step**2 / 2, rel=1e-4)


def test_an_auroc_of_1_has_an_honest_lower_end():
    low = {}
    for count in (3, 5, 10, 50):
        labels = np.repeat([1.0, 0.0], [count, 200])[:, np.newaxis]
        estimate = auroc_estimate(labels, labels, np.arange(count + 200))
        assert estimate.value == 1
        [[low[count], high]] = intervals(estimate)
        assert high == 1
    # Ten of ten: by C. J. Clopper and E. S. Pearson a share is at least 0.025^(1/10) = 0.6915. Here
    # the centre is 10.1 / 10.2, ten moves are 0.1 / 10.2 / 9.2, and chance's is -0.98 / 10.2^2.
    assert low[10] == pytest.approx(0.7076, abs=5e-5)
    assert low[3] < low[5] < low[10] < low[50] < 0.025 ** (1 / 50)


def test_two_patients_tell_nothing_and_three_do():
    labels, scores = np.zeros((60, 3)), np.random.default_rng(0).random((60, 3))
    labels[:2, 0], labels[:3, 1], labels[:4, 2] = 1, 1, 1
    patients = np.arange(60)
    patients[3] = 2  # the fourth film is of the third patient
    estimates = [
        auroc_estimate(labels, scores, patients),
        average_precision_estimate(labels, scores, patients)[0],
        ratio_estimate(labels * (scores > 0.5), labels),
    ]
    for estimate in estimates[:2]:
        assert list(estimate.patients) == [2, 3, 3]
        np.testing.assert_array_equal(np.isnan(intervals(estimate))[:, 0], [True, False, False])
    np.testing.assert_array_equal(np.isnan(intervals(estimates[2]))[:, 0], [True, False, False])
    # The rarer kind decides: two patients without the finding tell nothing either.
    turned = auroc_estimate(1 - labels, scores, patients)
    np.testing.assert_array_equal(np.isnan(intervals(turned))[:, 0], [True, False, False])


def test_intervals_stay_within_0_and_1_and_hold_the_figure():
    rng = np.random.default_rng(2)
    for _ in range(100):
        labels, scores, patients = films(rng, 12, 4)
        for estimate in (
            auroc_estimate(labels, scores, patients),
            average_precision_estimate(labels, scores, patients)[0],
        ):
            low, high = intervals(estimate).T
            given = ~np.isnan(low)
            assert (low[given] >= 0).all() and (high[given] <= 1).all()
            assert (low <= estimate.value)[given].all() and (estimate.value <= high)[given].all()


def test_auroc_intervals_are_the_same_with_kinds_and_order_turned_round():
    labels, scores, patients = films(np.random.default_rng(3))
    expected = intervals(auroc_estimate(labels, scores, patients))
    turned = intervals(auroc_estimate(1 - labels, -scores, patients))
    np.testing.assert_allclose(turned, expected, rtol=1e-9)
    names = np.array([f"p{200 - n}" for n in patients])[::-1]
    backwards = intervals(auroc_estimate(labels[::-1], scores[::-1], names))
    np.testing.assert_allclose(backwards, expected, rtol=1e-9)


def test_unknown_labels_count_nowhere_and_what_is_undefined_has_no_interval():
    labels, scores, patients = films(np.random.default_rng(4))
    labels[10:30, 0], labels[:, 1], scores[5, 2] = np.nan, 0, np.nan
    for function in (
        auroc_estimate,
        lambda *arrays: average_precision_estimate(*arrays)[0],
    ):
        found = intervals(function(labels, scores, patients))
        known = np.r_[:10, 30 : len(labels)]
        alone = function(labels[known, :1], scores[known, :1], patients[known])
        np.testing.assert_allclose(found[0], intervals(alone)[0], rtol=1e-9)
        assert np.isnan(found[1:]).all()
    mean = mean_estimate(auroc_estimate(labels, scores, patients))
    assert mean.value == auroc_estimate(labels, scores, patients).value[0]
    nothing = mean_estimate(auroc_estimate(labels[:, 1:], scores[:, 1:], patients))
    assert np.isnan(intervals(nothing)).all() and np.isnan(p_values(nothing)).all()


def test_rates_on_literals():
    # 40 patients with a film each, half of them called: nothing but the t quantile of 39 degrees
    # of freedom differs much from J. Wald's 0.5 +- 1.96 sqrt(0.25 / 40), 0.345 to 0.655.
    half = np.repeat([1.0, 0.0], 20)[:, np.newaxis]
    once = intervals(ratio_estimate(half, half * 0 + 1))
    np.testing.assert_allclose(once, [[0.344, 0.656]], atol=6e-3)
    # Twice the same film is no more evidence than one.
    twice = ratio_estimate(2 * half, half * 0 + 2)
    np.testing.assert_allclose(intervals(twice), once)
    # None of 100: "rule of three", 0.03, for certainty of 0.95 on one side.
    none = intervals(ratio_estimate(np.zeros((100, 1)), np.ones((100, 1))))
    assert none[0, 0] == 0 and 0.03 < none[0, 1] < 0.08
    assert np.isnan(intervals(ratio_estimate(np.zeros((9, 1)), np.zeros((9, 1))))).all()


def test_p_values_agree_with_intervals_and_are_1_for_the_same_network():
    labels, scores, patients = films(np.random.default_rng(5))
    a = auroc_estimate(labels, scores, patients)
    assert list(p_values(difference_estimate(a, a))) == [1, 1, 1]
    noise = np.random.default_rng(6).normal(size=scores.shape)
    difference = difference_estimate(a, auroc_estimate(labels, scores + noise, patients))
    low, high = difference_intervals(difference).T
    for end in (low, high):
        shifted = Estimate(
            difference.value - end, difference.centre - end, difference.moves, difference.patients
        )
        np.testing.assert_allclose(p_values(shifted), 0.05, rtol=1e-9)
    assert ((low > 0) | (high < 0)).tolist() == (p_values(difference) < 0.05).tolist()
    np.testing.assert_allclose(
        mean_estimate(difference).value, a.value.mean() - (a.value - difference.value).mean()
    )


def test_two_groups_differ_by_less_where_they_share_patients():
    rng = np.random.default_rng(7)
    ill = rng.random((200, 1)) < 0.5
    same = ratio_estimate(ill, np.ones((200, 1)))
    noisy = ratio_estimate(ill ^ (rng.random((200, 1)) < 0.05), np.ones((200, 1)))
    other = ratio_estimate(rng.permutation(ill), np.ones((200, 1)))
    width = {
        name: np.diff(difference_intervals(difference_estimate(same, estimate)))[0, 0]
        for name, estimate in (("shared", noisy), ("apart", other))
    }
    assert width["shared"] < width["apart"] / 2


def test_intervals_hold_the_truth_where_patients_with_the_finding_are_few():
    # 12 patients with the finding, of up to 5 films that are alike; AUROC of N(1, 1) and N(0, 1)
    # is the standard normal distribution at 1 / sqrt(2), 0.76025. 400 samples: two standard errors
    # are 0.022.
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(400):
        ill = np.arange(80) < 12
        patient_of = np.repeat(np.arange(80), rng.integers(1, 6, 80))
        own = rng.normal(size=80) * np.sqrt(0.7) + ill
        scores = own[patient_of] + rng.normal(size=len(patient_of)) * np.sqrt(0.3)
        labels = ill[patient_of].astype(np.float64)
        estimate = auroc_estimate(labels[:, None], scores[:, None], patient_of)
        [[low, high]] = intervals(estimate)
        held += low <= 0.76025 <= high
    assert 0.92 < held / 400 < 0.985
