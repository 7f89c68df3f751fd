"""Is one network better than another? DeLong's test, and several tests at a time."""

import numpy as np

from metrics import auroc, known_rows

LEVEL = 0.05


def holm(p):
    """Adjust p-values for being several: below a level, they hold together at that level.

    S. Holm, Scandinavian Journal of Statistics 6 (1979) 65: the k-th smallest of m is multiplied
    by m - k + 1, and is no smaller than those before it. The tests need not be independent.

    Args:
        p: `[C]`; NaN where there was no test, which is not counted.

    Returns:
        float64 `[C]`, NaN where p is.
    """
    p = np.asarray(p, np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN is last
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


def delong(labels, scores_a, scores_b):
    """Test whether two networks have the same AUROC on the same films.

    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837; by mid-ranks, as
    X. Sun and W. Xu, IEEE Signal Processing Letters 21 (2014) 1389. It takes films as independent,
    which several of one patient are not: `intervals.p_values` does not.

    Args:
        labels: `[N]`, 0, 1 or NaN, as for `auroc`.
        scores_a, scores_b: `[N]`.

    Returns:
        AUROC of a minus that of b, and the two-sided p-value; NaN where it is not defined.
    """
    from scipy.stats import norm, rankdata

    labels, scores_a, scores_b = known_rows(labels, scores_a, scores_b)
    positive = labels.astype(bool)
    m, n = positive.sum(), (~positive).sum()
    difference = auroc(labels, scores_a) - auroc(labels, scores_b)
    if min(m, n) < 2 or np.isnan(difference):
        return difference, float("nan")
    of_positives, of_negatives = [], []
    for scores in (scores_a, scores_b):
        among_all = rankdata(scores)
        # For each film the share of the other kind that it is ranked right against.
        of_positives.append((among_all[positive] - rankdata(scores[positive])) / n)
        of_negatives.append(1 - (among_all[~positive] - rankdata(scores[~positive])) / m)
    variance = (
        np.var(of_positives[0] - of_positives[1], ddof=1) / m
        + np.var(of_negatives[0] - of_negatives[1], ddof=1) / n
    )
    if variance == 0:
        return difference, 1.0 if difference == 0 else float("nan")
    return difference, float(2 * norm.sf(abs(difference) / np.sqrt(variance)))
