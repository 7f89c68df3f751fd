"""95 % intervals and p-values of AUROC, average precision and rates, from each patient's share.

Films of a patient are no independent evidence, so patients are what was sampled. Each patient
moves a figure by so much: the change if the patient were left out (the jackknife; B. Efron, The
Jackknife, the Bootstrap and Other Resampling Plans (1982), chapters 3 and 6), here from the
derivative of the figure by the patient's weight, and the patient's leverage. The moves' sum of
squares is the variance, their fourth powers tell how well it is known (F. E. Satterthwaite,
Biometrics Bulletin 2 (1946) 110), which sets the t quantile. Figures between 0 and 1 have their
interval on the logit's scale, with a fifth of a patient who is judged by chance added (as A.
Agresti, B. A. Coull, American Statistician 52 (1998) 119, add whole ones), without which few
patients who happen to agree would look like certainty. `benchmarks/coverage.py` measures how often
these intervals hold the truth.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit, stdtr, stdtrit

from metrics import auroc, known_rows

METHOD = (
    "jackknife over patients on the logit scale, t quantile with Satterthwaite's degrees of "
    "freedom; none for fewer than 3 patients with the finding"
)
METHOD_OF_DIFFERENCES = (
    "jackknife over patients, t quantile with the patients with the finding, less one, as degrees "
    "of freedom; none for fewer than 3"
)
CONFIDENCE = 0.95  # of the intervals
SIGNIFICANT = 0.05  # p-values below it, adjusted for being several
LEAST_PATIENTS = 3  # patients; of fewer there is no interval: their spread tells nothing
FEW_PATIENTS = 10  # of fewer an interval is marked: it is wide, or less sure
BY_CHANCE = 0.2  # patients added: 0.1 to 0.33 were tried; benchmarks/coverage.py


class Estimate(NamedTuple):
    """Figures and how each patient moves them; C figures side by side.

    value: `[C]`, NaN where it is not defined.
    centre: `[C]`, where the interval is built around.
    moves: `[P, C]`, one row a patient and one for the patient by chance.
    patients: `[C]`, how many have what the figure is about.
    """

    value: np.ndarray
    centre: np.ndarray
    moves: np.ndarray
    patients: np.ndarray


def auroc_estimate(labels, scores, patients):
    """Return the `Estimate` of AUROCs.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown, which counts nowhere.
        scores: float `[N, C]`.
        patients: `[N]`, the patient of each film, of any type that sorts.
    """
    return _each_class(_auroc, labels, scores, patients)[0]


def average_precision_estimate(labels, scores, patients):
    """Return the `Estimate` of average precisions, and their biases `[C]` (see `mean_estimate`)."""
    return _each_class(_average_precision, labels, scores, patients)


def _each_class(figure, labels, scores, patients):
    names, patient_of = np.unique(patients, return_inverse=True)
    columns = []
    for column in zip(np.asarray(labels).T, np.asarray(scores).T, strict=True):
        known, scored, owner = known_rows(*column, patient_of)
        columns.append(figure(known == 1, scored, owner, len(names)))
    values, centres, moves, counts, biases = zip(*columns, strict=True)
    estimate = Estimate(
        np.array(values), np.array(centres), np.stack(moves, axis=1), np.array(counts)
    )
    return estimate, np.array(biases)


def _auroc(positive, scores, patient_of, patients):
    counts = [len(np.unique(patient_of[kind])) for kind in (positive, ~positive)]
    if not min(counts) or np.isnan(scores).any():
        return _undefined(patients, min(counts))
    if counts[0] > counts[1]:  # the rarer kind decides; turned round, the AUROC is the same
        positive, scores = ~positive, -scores
    negatives = np.count_nonzero(~positive)
    right = _ranked_right(positive, scores)
    value = right[positive].mean()
    derivative = (right - value) / np.where(positive, len(positive) - negatives, negatives)
    derivative = np.bincount(patient_of, derivative, patients)
    own = np.bincount(patient_of[positive], minlength=patients)
    other = np.bincount(patient_of[~positive], minlength=patients)
    leverage = np.minimum(other / negatives, 1 - 1 / (negatives + 1))
    return *_with_chance(value, derivative / (1 - leverage), own, 0.5), min(counts), 0.0


def _ranked_right(positive, scores):
    """Return for each film the share of the other kind that it is ranked right against: `[N]`."""
    right = np.empty(len(scores))
    for kind in (positive, ~positive):
        others = np.sort(scores[~kind])
        below = sum(np.searchsorted(others, scores[kind], side) for side in ("left", "right"))
        right[kind] = below / (2 * len(others))
    return np.where(positive, right, 1 - right)


def _average_precision(positive, scores, patient_of, patients):
    count = len(np.unique(patient_of[positive]))
    if not count or np.isnan(scores).any():
        return _undefined(patients, count)
    order = np.argsort(-scores, kind="stable")
    scores, owner, positive = scores[order], patient_of[order], positive[order].astype(np.float64)
    first = np.searchsorted(-scores, -scores, "left")  # of the films with the same score
    last = np.searchsorted(-scores, -scores, "right") - 1
    found, called = np.cumsum(positive)[last], last + 1.0
    precision, total = found / called, positive.sum()
    value = (positive * precision).sum() / total
    # One more film at a place is found and called from all places below it.
    gain = positive * (precision + _sum_from(positive / called)[first])
    by_film = gain - _sum_from(positive * found / called**2)[first]
    by_patient = np.bincount(owner, by_film, patients)
    own = np.bincount(owner, positive, patients)
    second = _second_order(positive, found, called, owner, last)
    second -= 2 * ((by_patient - value * own) * own).sum() / total
    derivative = (by_patient - value * own) / total
    centre_and_moves = _with_chance(value, derivative, own, total / len(scores))
    return *centre_and_moves, count, second / total / 2


def _sum_from(values):
    return np.cumsum(values[::-1])[::-1]


def _second_order(positive, found, called, owner, last):
    """Return the sum over patients of d2 N / d w2, N the sum of precisions at positive films.

    Films come from the highest score on. With f and c a patient's films among found F and called C,
    the second derivative of F / C is 2 F c c / C^3 - 2 f c / C^2.
    """
    order = np.argsort(owner, kind="stable")
    places = np.arange(len(owner))
    starts = np.r_[True, owner[order][1:] != owner[order][:-1]]
    start = np.maximum.accumulate(np.where(starts, places, 0))
    sums = np.cumsum(positive[order])
    c, f = np.empty((2, len(owner)))
    c[order], f[order] = places - start + 1, sums - (sums - positive[order])[start]
    # What patients' c c and f c add up to: each film raises its own patient's.
    squares = np.cumsum(2 * c - 1)[last]
    products = np.cumsum(f * c - (f - positive) * (c - 1))[last]
    # A film's own weight counts as well; its patient's films of the same score are called with it.
    ends = np.flatnonzero(np.r_[starts[1:] | (np.diff(last[order]) > 0), True])
    end = order[ends[np.searchsorted(ends, places)]]
    c[order], f[order] = c[end], f[end]
    own = f / called - found * c / called**2
    return (2 * positive * (own + found * squares / called**3 - products / called**2)).sum()


def _with_chance(value, derivative, own, chance):
    """Add the patient by chance, and turn derivatives `[P]` into moves `[P + 1]`.

    Args:
        value: mean over the films that `own` counts, float or `[C]`.
        derivative: of the mean by patients' weights, `[P]` or `[P, C]`.
        own: films of each patient that the mean is over, likewise.
        chance: the mean of a patient by chance.

    Returns:
        value, centre, moves `[P + 1]` or `[P + 1, C]`.
    """
    total, having = own.sum(axis=0), np.maximum((own > 0).sum(axis=0), 1)
    added = BY_CHANCE * total / having
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (total * value + added * chance) / (total + added)
        moves = derivative * (total / (total + added)) + own * ((value - centre) / (total + added))
        moves = moves / (1 - own / (total + added))
        return value, centre, np.concatenate([moves, [added * (chance - centre) / (total + added)]])


def _undefined(patients, count):
    return np.nan, np.nan, np.full(patients + 1, np.nan), count, np.nan


def ratio_estimate(numerators, denominators):
    """Return the `Estimate` of shares of films: sums over patients, one divided by the other.

    Args:
        numerators, denominators: `[P, C]`, what each patient's films add to either.
    """
    parts, wholes = (np.asarray(sums, np.float64) for sums in (numerators, denominators))
    total = wholes.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = parts.sum(axis=0) / total
        derivative = (parts - value * wholes) / total
    return Estimate(*_with_chance(value, derivative, wholes, 0.5), (wholes > 0).sum(axis=0))


def one_of(estimate, c):
    """Return the `Estimate` of figure c only."""
    return Estimate(*(values[..., c : c + 1] for values in estimate))


def mean_estimate(estimate, biases=0.0):
    """Return the `Estimate` of the mean of the figures that are defined, C = 1.

    The moves tell of it as of one figure. A mean over classes is so well known that a bias of each
    counts, which average precision has: it is half the second derivative by the patients' weights.
    """
    defined = ~np.isnan(estimate.value)
    if not defined.any():
        empty = np.full(1, np.nan)
        return Estimate(empty, empty, np.full((1, 1), np.nan), np.zeros(1, int))
    value = estimate.value[defined].mean(keepdims=True)
    moves = estimate.moves[:, defined] / defined.sum()
    moves = np.concatenate([moves[:-1].sum(axis=1), moves[-1]])[:, np.newaxis]
    bias = np.broadcast_to(biases, defined.shape)[defined].mean()
    return Estimate(value, value - bias, moves, estimate.patients[defined].sum(keepdims=True))


def difference_estimate(a, b):
    """Return the `Estimate` of a minus b, figures of the same patients: row by row."""
    value = a.value - b.value
    return Estimate(value, value, a.moves - b.moves, np.minimum(a.patients, b.patients))


def intervals(estimate):
    """Return 95 % intervals of figures between 0 and 1: float64 `[C, 2]`, NaN where there is none.

    An interval never reaches beyond 0 and 1, and reaches them if the figure does.
    """
    centre = np.clip(estimate.centre, 1e-9, 1 - 1e-9)
    half = stdtrit(_freedom(estimate), (1 + CONFIDENCE) / 2) * _error(estimate)
    half = half / (centre * (1 - centre))
    low, high = expit(logit(centre) - half), expit(logit(centre) + half)
    low = np.where((estimate.value == 0) & ~np.isnan(low), 0, low)
    high = np.where((estimate.value == 1) & ~np.isnan(high), 1, high)
    return np.stack([low, high], axis=-1)


def difference_intervals(estimate):
    """Return 95 % intervals of differences: float64 `[C, 2]` within -1 and 1, NaN for none.

    Large moves of a difference go either way, and do not spoil its t statistic as they do that of
    a figure near 1: it has the patients, less one, as degrees of freedom.
    """
    half = stdtrit(estimate.patients - 1.0, (1 + CONFIDENCE) / 2) * _error(estimate)
    bounds = np.stack([estimate.centre - half, estimate.centre + half], axis=-1)
    return np.clip(bounds, -1, 1)


def p_values(estimate):
    """Return two-sided p-values `[C]` of "no difference", which agree with those intervals."""
    error = _error(estimate)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = 2 * stdtr(estimate.patients - 1.0, -np.abs(estimate.centre) / error)
    return np.where((estimate.centre == 0) & (error == 0), 1.0, p)


def _error(estimate):
    """Return standard errors `[C]`; NaN for fewer than `LEAST_PATIENTS` patients."""
    error = np.sqrt((estimate.moves**2).sum(axis=0))
    return np.where(estimate.patients >= LEAST_PATIENTS, error, np.nan)


def _freedom(estimate):
    """Return degrees of freedom `[C]`, at most the patients less one.

    An estimated variance has twice its square over its own variance. That of a sum of squares of
    independent moves is at most the sum of their fourth powers: few large moves among small ones,
    which rare findings and patients with many films make, count for few.
    """
    squares = estimate.moves**2
    fourth = (squares**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = 2 * squares.sum(axis=0) ** 2 / fourth
    return np.minimum(freedom, estimate.patients - 1.0)


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

    E. R. DeLong, D. M. DeLong, D. L. Clarke-Pearson, Biometrics 44 (1988) 837. It takes films as
    independent, which several of one patient are not: `p_values` does not.

    Args:
        labels: `[N]`, 0, 1 or NaN, as for `auroc`.
        scores_a, scores_b: `[N]`.

    Returns:
        AUROC of a minus that of b, and the two-sided p-value; NaN where it is not defined.
    """
    from scipy.stats import norm

    labels, scores_a, scores_b = known_rows(labels, scores_a, scores_b)
    positive = labels.astype(bool)
    m, n = positive.sum(), (~positive).sum()
    difference = auroc(labels, scores_a) - auroc(labels, scores_b)
    if min(m, n) < 2 or np.isnan(difference):
        return difference, float("nan")
    moved = _ranked_right(positive, scores_a) - _ranked_right(positive, scores_b)
    variance = np.var(moved[positive], ddof=1) / m + np.var(moved[~positive], ddof=1) / n
    if variance == 0:
        return difference, 1.0 if difference == 0 else float("nan")
    return difference, float(2 * norm.sf(abs(difference) / np.sqrt(variance)))
