import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score, roc_auc_score

from evaluation.intervals import delong
from films.label_lists import CLASS_NAMES
from metrics import (
    AUROC,
    PUBLISHED,
    auroc,
    average_precision,
    mean_defined,
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


def test_ranks_are_of_float64_whatever_precision_scipy_gives_them(monkeypatch):
    """SciPy 1.18 ranks float32 in float32: the AUROC of 20,000 films was wrong by 2e-8."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 20_001), rng.random(20_001).astype(np.float32)
    expected = roc_auc_score(labels, scores.astype(np.float64))
    ranks = scipy.stats.rankdata
    monkeypatch.setattr(scipy.stats, "rankdata", lambda x: ranks(x).astype(x.dtype))
    assert abs(auroc(labels, scores) - expected) <= 1e-12
    difference, _ = delong(labels, scores, scores[::-1].copy())
    flipped = roc_auc_score(labels, scores[::-1].astype(np.float64))
    assert abs(difference - (expected - flipped)) <= 1e-12
