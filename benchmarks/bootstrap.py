"""Intervals as this project printed them until November 2026, for coverage.py to compare with."""

import numpy as np
from scipy.sparse import csr_matrix


def resample_patients(count, resamples, seed):
    """Yield float64 `[B, count]`: how often each patient is in each of B resamples, at most 50."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, 50):
        drawn = min(50, resamples - start)
        yield rng.multinomial(count, np.full(count, 1 / count), drawn).astype(np.float64)


def bootstrap(labels, scores, patient_of, resamples, seed=0):
    """Return AUROCs and average precisions of resampled patients: float64 `[2, resamples, C]`.

    Args:
        labels, scores: `[N, C]`.
        patient_of: int `[N]` from 0, every number taken.
    """
    patients = patient_of.max() + 1
    columns = zip(labels.T, scores.T, strict=True)
    between = [_between_positives(*column, patient_of, patients) for column in columns]
    drawn = [
        np.stack([_figures(counts @ weights.T) for counts in between], axis=-1)
        for weights in resample_patients(patients, resamples, seed)
    ]
    return np.concatenate(drawn, axis=1)


def _between_positives(labels, scores, patient_of, patients):
    """Count each patient's films by the K distinct scores of positives: sparse `[3 K + 1, P]`.

    Negatives below the first score, at it, between it and the second, ..., above the last; then
    positives at each.
    """
    positive = labels == 1
    own = np.unique(scores[positive])
    below, not_above = (np.searchsorted(own, scores, side) for side in ("left", "right"))
    place = np.where(positive, 2 * len(own) + 1 + below, below + not_above)
    return csr_matrix((np.ones(len(scores)), (place, patient_of)), (3 * len(own) + 1, patients))


def _figures(counts):
    """AUROC and average precision from counts `[3 K + 1, B]`: `[2, B]`."""
    k = len(counts) // 3
    lower = np.cumsum(counts[: 2 * k + 1], axis=0)  # negatives up to each place
    positive, negatives = counts[2 * k + 1 :], lower[-1]
    positives = positive.sum(axis=0)
    u = (positive * (lower[: 2 * k : 2] + lower[1 : 2 * k : 2])).sum(axis=0) / 2
    found = positives - np.cumsum(positive, axis=0) + positive
    precision = found / np.maximum(found + negatives - lower[: 2 * k : 2], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([u / (positives * negatives), (positive * precision).sum(0) / positives])


def percentiles(drawn):
    """Return percentile intervals of resampled values `[B, ...]`: `[..., 2]`, NaN left out."""
    with np.errstate(invalid="ignore"):
        return np.moveaxis(np.nanpercentile(drawn, [2.5, 97.5], axis=0), 0, -1)


def resampled_p(drawn):
    """Return twice the rarer sign's share of resamples `[B, C]`, one added to both: `[C]`."""
    known = (~np.isnan(drawn)).sum(axis=0)
    rarer = np.minimum((drawn <= 0).sum(axis=0), (drawn >= 0).sum(axis=0))
    return np.where(known > 0, np.minimum(1, 2 * (rarer + 1) / (known + 1)), np.nan)
