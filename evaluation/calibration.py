"""Calibration: does a finding occur as often as its probabilities say?"""

import numpy as np

from metrics import known_rows


def brier_score(labels, probs):
    """Mean squared difference of probability and label (G. W. Brier, 1950): `[N, C]` -> `[C]`.

    Over the films whose label is known; NaN for a class without any.
    """
    known = ~np.isnan(labels)
    difference = np.asarray(probs, np.float64) - np.asarray(labels, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(known, difference**2, 0).sum(axis=0) / known.sum(axis=0)


def equal_width(probs, bins=10):
    """Return the bin of each film, `[N]` -> int `[N]`, bins of equal width from 0 to 1."""
    return np.minimum((np.asarray(probs, np.float64) * bins).astype(int), bins - 1)


def equal_mass(probs, bins=10):
    """Return the bin of each film, `[N]` -> int `[N]`, bins with as many films each.

    Films of one probability stay together, in the lower bin, so that some bins may be larger.
    """
    probs = np.asarray(probs, np.float64)
    edges = np.quantile(probs, np.linspace(0, 1, bins + 1)[1:-1])
    return np.searchsorted(edges, probs)


def reliability_curve(labels, probs, bins=equal_width):
    """Group films by probability.

    Args:
        labels, probs: `[N]`.
        bins: `equal_width` or `equal_mass`.

    Returns:
        Of the bins that have films: mean probability, share of positives, number of films.
    """
    labels, probs = np.asarray(labels, np.float64), np.asarray(probs, np.float64)
    _, bin_of, films = np.unique(bins(probs), return_inverse=True, return_counts=True)
    return np.bincount(bin_of, probs) / films, np.bincount(bin_of, labels) / films, films


def share_intervals(labels, bin_of, patients, z=1.959964):
    """Return 95 % intervals of the share of positives in each bin that has films.

    E. B. Wilson's interval (1927), which is not empty where no film is positive, of the effective
    number of films (J. N. K. Rao, A. J. Scott, Biometrics 48 (1992) 577): films of a patient
    count the less, the more they agree. Where all of a bin agree, its patients are counted.

    Args:
        labels: `[N]`, 0 or 1.
        bin_of: int `[N]`.
        patients: `[N]`, the patient of each film, of any type that sorts.
        z: 97.5th percentile of the normal distribution.

    Returns:
        low, high: float64 `[K]` each.
    """
    _, bin_of, films = np.unique(bin_of, return_inverse=True, return_counts=True)
    _, patient_of = np.unique(patients, return_inverse=True)
    share = np.bincount(bin_of, labels) / films
    # Of each patient in a bin: by how much its films exceed that bin's share.
    place, part_of = np.unique(bin_of * len(patient_of) + patient_of, return_inverse=True)
    excess = np.bincount(part_of, labels - share[bin_of])
    bin_of_part = place // len(patient_of)
    count = np.bincount(bin_of_part)
    if_independent = share * (1 - share) * films
    with np.errstate(invalid="ignore", divide="ignore"):
        inflation = np.bincount(bin_of_part, excess**2) / if_independent
    inflation = np.where((count > 1) & (if_independent > 0), inflation, films / count)
    n = films / np.maximum(inflation, 1)
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def expected_calibration_error(labels, probs, bins=equal_width):
    """Mean distance of the reliability curve from the diagonal: `[N, C]` -> `[C]`.

    Weighted by films; M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015, for two classes. Films
    whose label is unknown are left out; a class without others is NaN.
    """
    errors = np.full(np.shape(labels)[1], np.nan)
    for c, column in enumerate(zip(np.asarray(labels).T, np.asarray(probs).T, strict=True)):
        known = known_rows(*column)
        if len(known[0]):
            predicted, observed, films = reliability_curve(*known, bins)
            errors[c] = np.average(np.abs(predicted - observed), weights=films)
    return errors
