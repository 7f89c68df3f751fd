"""Calibration: does a finding occur as often as its probabilities say, and if not, what does?"""

import numpy as np
from scipy.special import expit, logit

from metrics import known_columns

Z = 1.959964  # 97.5th percentile of the normal distribution
CERTAIN = 1e-7  # probabilities nearer to 0 or 1 than this have the logit of this


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


def share_intervals(labels, bin_of, patients):
    """Return 95 % intervals of the share of positives in each bin that has films.

    E. B. Wilson's interval (1927), which is not empty where no film is positive, of the effective
    number of films (J. N. K. Rao, A. J. Scott, Biometrics 48 (1992) 577): films of a patient
    count the less, the more they agree. Where all of a bin agree, its patients are counted.

    Args:
        labels: `[N]`, 0 or 1.
        bin_of: int `[N]`.
        patients: `[N]`, the patient of each film, of any type that sorts.

    Returns:
        low, high: float64 `[K]` each.
    """
    _, bin_of, films = np.unique(bin_of, return_inverse=True, return_counts=True)
    share = np.bincount(bin_of, labels) / films
    inflation = _variance_inflation(labels - share[bin_of], bin_of, patients)
    return _wilson(share, films / np.maximum(inflation, 1))


def _variance_inflation(excess, bin_of, patients):
    """Return how many times as large a share's variance is as that of independent films: `[K]`.

    Args:
        excess: `[N]`, by how much each film exceeds the share of its bin.
        bin_of: int `[N]`, from 0 to K - 1.
        patients: `[N]`.
    """
    names, patient_of = np.unique(patients, return_inverse=True)
    # A part is what one patient has in one bin.
    part, part_of = np.unique(bin_of * len(names) + patient_of, return_inverse=True)
    bin_of_part = part // len(names)
    together = np.bincount(bin_of_part, np.bincount(part_of, excess) ** 2)
    if_independent = np.bincount(bin_of, excess**2)
    patients_in_bin = np.bincount(bin_of_part)
    films_a_patient = np.bincount(bin_of) / patients_in_bin
    # Where all films agree, or are of one patient, nothing varies: patients are counted.
    varies = (patients_in_bin > 1) & (if_independent > 0)
    return np.divide(together, if_independent, out=films_a_patient, where=varies)


def _wilson(share, n):
    """Return the bounds of Wilson's 95 % interval of shares `[K]` of n `[K]` films."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def expected_calibration_error(labels, probs, bins=equal_width):
    """Mean distance of the reliability curve from the diagonal: `[N, C]` -> `[C]`.

    Weighted by films; M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015, for two classes. Films
    whose label is unknown are left out; a class without others is NaN.
    """
    errors = np.full(np.shape(labels)[1], np.nan)
    for c, known in enumerate(known_columns(labels, probs)):
        if len(known[0]):
            predicted, observed, films = reliability_curve(*known, bins)
            errors[c] = np.average(np.abs(predicted - observed), weights=films)
    return errors


def fit_calibration(labels, probs, method="platt"):
    """Fit what turns a class's probabilities into calibrated ones; scikit-learn does.

    Args:
        labels, probs: `[N]`; of films that nothing is reported on afterwards.
        method: "platt", a line on the logit, with J. C. Platt's targets (Advances in Large Margin
            Classifiers, 1999), which a few positives do not make certain; or "isotonic" (B.
            Zadrozny, C. Elkan, KDD 2002), which takes more films.

    Returns:
        dict for JSON, as `calibrate` takes it: "slope" and "intercept", or "probability" and
        "calibrated", between which lines are drawn. None for a class without both kinds of label,
        or where the likelier film is not the one with the finding.
    """
    from sklearn.isotonic import IsotonicRegression  # here: a second to load
    from sklearn.linear_model import LogisticRegression

    positive, probs = np.asarray(labels).astype(bool), np.asarray(probs, np.float64)
    if positive.all() or not positive.any() or np.ptp(probs) == 0:
        return None
    if method == "isotonic":
        fitted = IsotonicRegression(y_min=0, y_max=1).fit(probs, positive)
        steps = fitted.X_thresholds_, fitted.y_thresholds_
        return dict(zip(("probability", "calibrated"), (x.tolist() for x in steps), strict=True))
    found = positive.sum()
    targets = np.where(positive, (found + 1) / (found + 2), 1 / (len(probs) - found + 2))
    # A film counts as so much of a positive one, and the rest of a negative one.
    twice = np.tile(_logit(probs), 2)[:, np.newaxis]
    kinds, shares = np.repeat([1, 0], len(probs)), np.concatenate([targets, 1 - targets])
    fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(twice, kinds, shares)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return {"slope": slope, "intercept": intercept} if slope > 0 else None


def calibrate(probs, fitted):
    """Return calibrated probabilities, float64; NaN where nothing is fitted (`fit_calibration`)."""
    probs = np.asarray(probs, np.float64)
    if fitted is None:
        return np.full(probs.shape, np.nan)
    if "slope" in fitted:
        return expit(fitted["slope"] * _logit(probs) + fitted["intercept"])
    return np.interp(probs, fitted["probability"], fitted["calibrated"])


def calibration_line(labels, probs):
    """Return calibration slope and intercept: `[N, C]` -> float64 `[C]` each; 1 and 0 are best.

    The slope is that of a logistic regression on the logit: below 1, probabilities are too
    extreme. The intercept is that of one whose slope is 1: below 0, they are too high on average
    (B. Van Calster et al., Journal of Clinical Epidemiology 74 (2016) 167). Films whose label is
    unknown are left out. NaN for a class without both kinds, or with probabilities that are; the
    slope too where one probability parts the kinds.
    """
    from scipy.optimize import brentq
    from sklearn.linear_model import LogisticRegression  # here: a second to load

    slopes, intercepts = np.full((2, np.shape(labels)[1]), np.nan)
    for c, (known, scores) in enumerate(known_columns(labels, probs)):
        positive, logits = known.astype(bool), _logit(scores)
        if not positive.any() or positive.all() or np.isnan(logits).any():
            continue

        def excess(shift, logits=logits, positive=positive):
            return expit(logits + shift).sum() - positive.sum()

        intercepts[c] = brentq(excess, -40, 40)  # of logits that are within 17 of 0
        ends = [(logits[kind].min(), logits[kind].max()) for kind in (positive, ~positive)]
        if ends[0][0] < ends[1][1] and ends[1][0] < ends[0][1]:
            fitted = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
            slopes[c] = fitted.fit(logits[:, np.newaxis], positive).coef_[0, 0]
    return slopes, intercepts


def _logit(probs):
    return logit(np.clip(np.asarray(probs, np.float64), CERTAIN, 1 - CERTAIN))
