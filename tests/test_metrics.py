import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation.measures import measure
from films.label_lists import CLASS_NAMES
from metrics import (
    AUROC,
    PUBLISHED,
    auroc,
    average_precision,
    bootstrap,
    delong,
    interval,
    mean_defined,
    resample_patients,
)


def scores_with_ties(rows, columns, dtype, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((rows, columns)) < np.linspace(0.002, 0.9, columns)
    labels[0], labels[1] = True, False
    scores = np.round(rng.random((rows, columns)) + 0.1 * labels, 2).astype(dtype)
    scores[:, 0] = rng.random(rows)  # one column almost without ties
    return labels.astype(np.uint8), scores


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.75),  # 3 of 4 pairs
        ([0, 1], [0.5, 0.5], 0.5),  # a tie is half a pair
        ([0, 1], [0.1, 0.9], 1.0),
        ([1, 0], [0.1, 0.9], 0.0),
        ([0, 0, 1], [0.2, 0.7, 0.7], 0.75),  # one pair won, one tied
        ([-0.0, 0, 1], [-0.0, 0.0, 0.0], 0.5),  # the two zeros are one
    ],
)
def test_literal_tables(labels, scores, expected):
    assert auroc(labels, scores) == expected
    metric = AUROC(["A"])
    metric.update(np.array(scores)[:, None], np.array(labels)[:, None])
    assert metric.accumulate() == [expected, expected]


def test_a_class_without_both_labels_is_nan_and_left_out_of_the_mean():
    labels = np.array([[1, 0, 0], [1, 0, 1]])
    scores = np.array([[0.3, 0.2, 0.1], [0.3, 0.4, 0.9]])
    aurocs = auroc(labels, scores)
    np.testing.assert_array_equal(aurocs, [np.nan, np.nan, 1.0])
    assert aurocs.dtype == np.float64
    assert mean_defined(aurocs) == (1.0, 1)
    mean, defined = mean_defined([np.nan])
    assert np.isnan(mean) and defined == 0
    metric = AUROC("ABC")
    metric.update(scores, labels)
    np.testing.assert_array_equal(metric.accumulate(), [np.nan, np.nan, 1.0, 1.0])


def test_a_nan_score_makes_its_class_nan():
    labels, scores = np.array([[0, 0], [1, 1]]), np.array([[0.1, 0.1], [np.nan, 0.9]])
    np.testing.assert_array_equal(auroc(labels, scores), [np.nan, 1.0])
    metric = AUROC("AB")
    metric.update(scores, labels)
    np.testing.assert_array_equal(metric.accumulate(), [np.nan, 1.0, 1.0])


@pytest.mark.parametrize("labels", [[0, 2], [0, 0.5]])
def test_labels_other_than_0_and_1_are_refused(labels):
    with pytest.raises(ValueError, match="0, 1 or NaN"):
        auroc(labels, [0.1, 0.2])


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        auroc([0, 1], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_function_equals_scikit_learn(dtype):
    labels, scores = scores_with_ties(4000, 6, dtype)
    expected = roc_auc_score(labels, scores, average=None)
    assert np.abs(auroc(labels, scores) - expected).max() <= 1e-12


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_metric_equals_scikit_learn_in_600_updates_and_in_one(dtype):
    labels, scores = scores_with_ties(600 * 7, 6, dtype, seed=1)
    metric = AUROC("ABCDEF")
    for step in range(600):
        rows = slice(7 * step, 7 * step + 7)
        metric.update(scores[rows], labels[rows])
        if step in (0, 1, 2, 50, 599):
            so_far = auroc(labels[: rows.stop], scores[: rows.stop])
            np.testing.assert_allclose(metric.accumulate()[:-1], so_far, rtol=0, atol=1e-12)
    expected = roc_auc_score(labels, scores, average=None)
    assert np.abs(np.array(metric.accumulate()[:-1]) - expected).max() <= 1e-12
    many_updates = metric.accumulate()
    metric.reset()
    assert np.isnan(metric.accumulate()).all()
    metric.update(scores, labels)
    assert metric.accumulate() == many_updates  # whole half pairs are counted: equal to the bit


def test_names_are_those_of_the_log_lines():
    names = AUROC(CLASS_NAMES).name()
    assert (names[0], names[13], names[14]) == ("AUROC_Atelectasis", "AUROC_Hernia", "AUROC_avg")


def test_published_means_are_those_of_their_columns():
    for name, (aurocs, mean) in PUBLISHED.items():
        assert len(aurocs) == len(CLASS_NAMES), name
        if mean is not None:
            # Printed to three digits; two projects' means are 0.0002 off their printed columns.
            assert abs(np.mean(aurocs) - mean) < 0.001, name


def grouped(seed=0, films=400, patients=90):
    rng = np.random.default_rng(seed)
    labels = rng.random((films, 3)) < [0.3, 0.05, 0.5]
    scores = np.round(rng.random((films, 3)) + 0.3 * labels, 1).astype(np.float32)
    return labels, scores, rng.integers(0, patients, films)


def test_bootstrap_is_the_auroc_of_films_drawn_patient_by_patient():
    labels, scores, patients = grouped()
    found = bootstrap(labels, scores, patients, resamples=60, seed=3)["auroc"]
    rng = np.random.default_rng(3)
    ids = np.unique(patients)
    drawn = [
        draw
        for count in (50, 10)  # as many at a time as bootstrap draws
        for draw in rng.multinomial(len(ids), np.full(len(ids), 1 / len(ids)), count)
    ]
    for row, counts in zip(found, drawn, strict=True):
        films = np.concatenate(
            [np.repeat(np.flatnonzero(patients == i), n) for i, n in zip(ids, counts, strict=True)]
        )
        for c in range(3):
            expected = roc_auc_score(labels[films, c], scores[films, c])
            assert row[c] == pytest.approx(expected, abs=1e-12)


def test_bootstrap_of_patients_is_wider_than_of_films_where_their_films_agree():
    rng = np.random.default_rng(1)
    labels = (rng.random(50) < 0.5).repeat(20)[:, None]
    scores = (rng.random(50)[:, None] + 0.3 * labels[::20]).repeat(20, axis=0)
    width = [
        np.subtract(*interval(bootstrap(labels, scores, groups)["auroc"][:, 0])[::-1])
        for groups in (np.arange(50).repeat(20), np.arange(1000))
    ]
    assert width[0] > 3 * width[1]  # about the square root of 20


def test_bootstrap_says_nan_where_a_class_is_not_defined():
    labels, scores, patients = grouped()
    labels[:, 1] = False
    scores[7, 2] = np.nan
    found = bootstrap(labels, scores, patients, resamples=20)["auroc"]
    assert np.isfinite(found[:, 0]).all() and np.isnan(found[:, 1:]).all()
    assert np.isnan(interval(found[:, 1])).all()


def test_the_interval_of_the_mean_average_precision_holds_the_truth():
    # Of what an interval of 95 % is for: percentiles hold it in 12 of these 30 draws.
    rng = np.random.default_rng(0)
    prevalence = np.geomspace(0.02, 0.2, 14)

    def draw(count):
        labels = (rng.random((count, 14)) < prevalence).astype(int)
        return labels, rng.normal(size=(count, 14)) + 0.7 * labels

    truth, held = average_precision(*draw(300_000)).mean(), 0
    for n in range(30):
        figures = measure(np.arange(600), *draw(600), resamples=200, seed=n)
        low, high = figures["average_precision_mean_95_percent"]
        held += low <= truth <= high
    assert held >= 26


def test_interval_is_the_percentile_interval():
    low, high = interval(np.append(np.arange(101.0), np.nan))
    assert (low, high) == pytest.approx((2.5, 97.5))  # 2.5 % and 97.5 % of 0 to 100


def naive_delong(labels, a, b):
    """DeLong's test by its definition: every pair of a positive and a negative film."""
    columns = []
    for scores in (a, b):
        x, y = scores[labels][:, None], scores[~labels][None]
        columns.append((x > y) + 0.5 * (x == y))
    (m, n), aucs = columns[0].shape, [psi.mean() for psi in columns]
    s10 = np.cov([psi.mean(axis=1) for psi in columns])
    s01 = np.cov([psi.mean(axis=0) for psi in columns])
    covariance = s10 / m + s01 / n
    contrast = np.array([1, -1])
    z = (aucs[0] - aucs[1]) / np.sqrt(contrast @ covariance @ contrast)
    return aucs[0] - aucs[1], 2 * norm.sf(abs(z))


def test_delong_is_its_definition_with_and_without_ties():
    labels, a, _ = grouped(1)
    _, b, _ = grouped(2)
    for c, digits in ((0, 1), (2, 3)):
        ours = delong(labels[:, c], a[:, c].round(digits), b[:, c].round(digits))
        theirs = naive_delong(labels[:, c], a[:, c].round(digits), b[:, c].round(digits))
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_delong_where_nothing_can_be_told():
    labels = [0, 0, 1, 1]
    assert delong(labels, [0.1, 0.4, 0.35, 0.8], [0.1, 0.4, 0.35, 0.8]) == (0.0, 1.0)
    difference, p = delong([0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    assert difference == 1.0 and np.isnan(p)  # one positive has no variance
    assert np.isnan(delong([0, 0, 0], [1, 2, 3], [3, 2, 1])).all()


@pytest.mark.parametrize(
    ("labels", "scores", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 5 / 6),  # precision 1 at 0.8, 2/3 at 0.35
        ([0, 1], [0.5, 0.5], 0.5),  # both are called at once
        ([1, 0, 0, 0], [0.1, 0.2, 0.3, 0.4], 0.25),  # found last: the prevalence
        ([1, 1], [0.1, 0.9], 1.0),  # all that is called is positive
        ([0, 0], [0.1, 0.9], np.nan),  # there is nothing to find
        ([0, 1], [np.nan, 0.9], np.nan),
    ],
)
def test_literal_average_precisions(labels, scores, expected):
    assert average_precision(labels, scores) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_average_precision_is_scikit_learn_s(dtype):
    labels, scores = scores_with_ties(4000, 6, dtype)
    expected = average_precision_score(labels, scores, average=None)
    assert np.abs(average_precision(labels, scores) - expected).max() <= 1e-9


def test_bootstrap_is_the_average_precision_of_films_drawn_patient_by_patient():
    labels, scores, patients = grouped()
    found = bootstrap(labels, scores, patients, resamples=60, seed=3)["average_precision"]
    ids, patient_of = np.unique(patients, return_inverse=True)
    drawn = np.concatenate(list(resample_patients(len(ids), 60, 3)))[:, patient_of].astype(int)
    for row, times in zip(found, drawn, strict=True):
        films = np.repeat(np.arange(len(labels)), times)
        expected = average_precision_score(labels[films], scores[films], average=None)
        assert row == pytest.approx(expected, abs=1e-9)
