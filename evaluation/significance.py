"""Several tests at a time: adjusted p-values, and p-values of what was resampled."""

import numpy as np

LEVEL = 0.05
# With fewer films of either kind a test that takes their number as large is not to be relied on.
FEW = 10


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


def resampled_p(drawn):
    """Return the two-sided p-value of "no difference": twice the rarer sign's share of resamples.

    The level at which the percentile interval comes to touch 0 (B. Efron, R. J. Tibshirani, An
    Introduction to the Bootstrap (1993), section 15.4). One is added to both counts (A. C. Davison,
    D. V. Hinkley, Bootstrap Methods and their Application (1997), section 4.2): B resamples never
    give less than 2 / (B + 1).

    Args:
        drawn: differences `[B]`, NaN left out.

    Returns:
        float; NaN where all are.
    """
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return float("nan")
    rarer = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    return float(min(1, 2 * (rarer + 1) / (len(drawn) + 1)))
