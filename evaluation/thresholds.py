"""Decisions from probabilities: thresholds, and what they give on other films and in groups."""

import numpy as np

from evaluation.intervals import (
    difference_estimate,
    difference_intervals,
    intervals,
    one_of,
    ratio_estimate,
)
from evaluation.predictions_csv import read_predictions
from films.label_lists import films_shared, read_labels
from metrics import known_columns
from runtime.files import UserError

RATES = ("sensitivity", "specificity", "precision", "f1")
GROUP_RATES = ("sensitivity", "specificity", "precision")
# L. Seyyed-Kalantari et al., Nature Medicine 27 (2021) 2176: underdiagnosis.
MISSED = "called_healthy_though_ill"
LEAST_POSITIVES = 30  # positive films in a group; of fewer no rate is given
UNKNOWN = "not known"


def choose_thresholds(labels, probs, rule="youden"):
    """Choose a threshold for each class; on films that nothing is reported on afterwards.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown, which counts nowhere.
        probs: float `[N, C]`.
        rule: "youden", the largest sensitivity + specificity - 1 (W. J. Youden, Cancer 3 (1950)
            32), or "f1", the largest F1. Of several, the highest threshold.

    Returns:
        float64 `[C]`: a film is called positive from its class's threshold on; NaN for a class
        without both kinds of label.
    """
    from sklearn.metrics import roc_curve  # here: a second to load

    thresholds = np.full(np.shape(labels)[1], np.nan)
    for c, (known, scores) in enumerate(known_columns(labels, np.asarray(probs, np.float64))):
        positive = known.astype(bool)
        if positive.all() or not positive.any():
            continue
        false, true, candidates = roc_curve(positive, scores, drop_intermediate=False)
        worth = true - false
        if rule == "f1":
            found, alarms = np.rint(true * positive.sum()), np.rint(false * (~positive).sum())
            worth = 2 * found / (found + alarms + positive.sum())
        # The first candidate is infinity, which calls nothing positive.
        thresholds[c] = candidates[1:][np.argmax(worth[1:])]
    return thresholds


def read_validation(predictions, label_list, tested, test_list):
    """Read predictions of validation films, none of whose patients is tested.

    Args:
        predictions: predictions.csv of the validation films.
        label_list: their labels.
        tested: the films that are tested, a `LabelList`.
        test_list: where they are listed, for the message.

    Returns:
        A `LabelList`, and float32 `[N, C]`.

    Raises:
        UserError: a file is broken, or a patient is in both lists.
    """
    listed = read_labels(label_list)
    probs = read_predictions(predictions, listed.names, "--thresholds-list")
    shared = films_shared(listed, tested)
    if shared:
        raise UserError(
            f"{predictions}: want patients that are not in {test_list}, got {len(shared)} films "
            f"of such, {shared[0]} first; thresholds are never chosen on test films"
        )
    return listed, probs


def rates(labels, probs, thresholds):
    """Return what thresholds give.

    Args:
        labels: `[N, C]`, 0, 1 or NaN, as for `choose_thresholds`.
        probs: float `[N, C]`.
        thresholds: `[C]`.

    Returns:
        dict from each of `RATES` to float64 `[C]`; NaN where a rate's denominator is 0 or the
        threshold is NaN.
    """
    parts = rate_parts(outcomes(labels, call(probs, thresholds)).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {rate: part / whole for rate, (part, whole) in parts.items()}


def rate_intervals(labels, probs, patients, thresholds):
    """Return 95 % intervals of the rates (see `intervals`).

    Args:
        labels, probs: as for `rates`.
        patients: `[N]`, the patient of each film, of any type that sorts.
        thresholds: `[C]`.

    Returns:
        dict from each of `RATES` to float64 `[C, 2]`.
    """
    of_films = outcomes(labels, call(probs, thresholds))
    sums = patient_sums(of_films, np.arange(len(labels)), patients)
    bounds = {rate: intervals(estimate) for rate, estimate in rate_estimates(sums).items()}
    right, called, positive, _ = np.moveaxis(sums, 1, 0)
    # F1 is 2 s / (1 + s) of the share s of the right ones among what is called or positive.
    share = intervals(ratio_estimate(right, called + positive - right))
    return bounds | {"f1": 2 * share / (1 + share)}


def call(probs, thresholds):
    """Call films positive from a threshold on: float32 `[N, C]`, NaN where the threshold is."""
    called = (np.asarray(probs, np.float64) >= thresholds).astype(np.float32)
    called[:, np.isnan(thresholds)] = np.nan
    return called


def outcomes(labels, called):
    """Say of each film what `rate_parts` takes.

    Returns:
        float32 `[N, 4, C]`, each 0 or 1: called and positive; called; positive; 1. Where a label is
        unknown, all are 0.
    """
    labels, called = np.asarray(labels, np.float32), np.asarray(called, np.float32)
    known = ~np.isnan(labels)
    labels, called = np.where(known, labels, 0), np.where(known, called, 0)
    return np.stack([called * labels, called, labels, known.astype(np.float32)], axis=1)


def patient_sums(of_films, index, patients):
    """Add up what the films of each patient count.

    Args:
        of_films: `outcomes` of N films.
        index: of the films that count.
        patients: `[N]`, the patient of each film, of any type that sorts.

    Returns:
        float64 `[P, 4, C]`, patients in their order, those without such a film too.
    """
    from scipy.sparse import csr_matrix

    names, patient_of = np.unique(patients, return_inverse=True)
    placed = (np.ones(len(index)), (patient_of[index], np.arange(len(index))))
    sums = csr_matrix(placed, (len(names), len(index))) @ of_films[index].reshape(len(index), -1)
    return sums.reshape(-1, *of_films.shape[1:])


def rate_estimates(sums):
    """Return `Estimate`s by each of `GROUP_RATES`, from `patient_sums`."""
    parts = rate_parts(sums)
    return {rate: ratio_estimate(*parts[rate]) for rate in GROUP_RATES}


def rate_parts(counts):
    """Return what each rate is a share of: from counts `[..., 4, C]` of `outcomes`.

    Returns:
        dict from each of `RATES` to numerator and denominator, float64 `[..., C]` each.
    """
    right, called, positive, films = np.moveaxis(np.asarray(counts, np.float64), -2, 0)
    negative = films - positive
    return {
        "sensitivity": (right, positive),
        "specificity": (negative - (called - right), negative),
        "precision": (right, called),
        "f1": (2 * right, called + positive),
    }


def net_benefit(labels, probs, thresholds):
    """Return what calling films from a threshold on is worth: true positives, less false alarms.

    Per film; a false alarm costs threshold / (1 - threshold) of what a found one gains, as whoever
    chooses that threshold says. A. J. Vickers, E. B. Elkin, Medical Decision Making 26 (2006) 565.

    Args:
        labels, probs: `[N]`; probabilities as `rates` compares them.
        thresholds: `[T]`, above 0 and below 1.

    Returns:
        of_probs: float64 `[T]`, of calling what reaches the threshold.
        of_all: float64 `[T]`, of calling every film. Calling none is worth 0.
    """
    positive = np.asarray(labels).astype(bool)
    probs, thresholds = np.asarray(probs, np.float64), np.asarray(thresholds, np.float64)
    cost = thresholds / (1 - thresholds)

    def called(films):
        return len(films) - np.searchsorted(np.sort(films), thresholds)

    found, alarms = called(probs[positive]), called(probs[~positive])
    prevalence = positive.mean()
    return (found - alarms * cost) / len(probs), prevalence - (1 - prevalence) * cost


def rates_by_group(labels, probs, patients, thresholds, groups):
    """Return what thresholds give in groups of films.

    Args:
        labels, probs: `[N, C]`, as for `rates`. A film is ill with a finding that is known,
            whatever else is not.
        patients: `[N]`, the patient of each film.
        thresholds: `[C]`.
        groups: of G groups, the indices of their films.

    Returns:
        positives: int `[G, C + 1]`, films of each class, and last those of any: the ill.
        found: dict from each of `GROUP_RATES` to float64 `[G, C]`, and from `MISSED` to `[G]`: the
            share of the ill that no threshold calls; NaN below `LEAST_POSITIVES` positives.
        estimates: likewise to lists of G `intervals.Estimate`, of the same patients in all groups.
    """
    labels, called = np.asarray(labels), call(probs, thresholds)
    # Any finding is one more class.
    healthy = (labels == 0).all(axis=1)
    ill = np.where((labels == 1).any(axis=1), 1, np.where(healthy, 0, np.nan))
    labels = np.column_stack([labels, ill])
    called = np.column_stack([called, (called == 1).any(axis=1)])
    of_films = outcomes(labels, called)
    estimates = {rate: [] for rate in (*GROUP_RATES, MISSED)}
    for index in groups:
        sums = patient_sums(of_films, index, patients)
        for rate, estimate in rate_estimates(sums[..., :-1]).items():
            estimates[rate].append(estimate)
        right, _, ill, _ = sums[..., -1:].swapaxes(0, 1)
        estimates[MISSED].append(ratio_estimate(ill - right, ill))
    positives = np.stack([of_films[index, 2].sum(axis=0) for index in groups]).astype(int)
    found = {}
    for rate, of_groups in estimates.items():
        few = (positives[:, -1:] if rate == MISSED else positives[:, :-1]) < LEAST_POSITIVES
        found[rate] = np.where(few, np.nan, np.stack([each.value for each in of_groups]))
    found[MISSED] = found[MISSED][:, 0]
    return positives, found, estimates


def widest_gaps(names, found, estimates):
    """Return for each class between which two groups a rate differs most, and by how much.

    The interval is of the difference of these two groups. It does not know that they were chosen
    for being farthest apart.

    Args:
        names: of G groups; `UNKNOWN` is not compared.
        found: `[G, C]`, NaN where a group has too few films.
        estimates: list of G `intervals.Estimate` of C rates, or None.

    Returns:
        list of C: dict of "highest" and "lowest" (groups), "gap" and "gap_95_percent"; None where
        fewer than two groups have the rate.
    """
    gaps = []
    for c, rate in enumerate(found.T):
        known = [g for g in np.flatnonzero(~np.isnan(rate)) if names[g] != UNKNOWN]
        if len(known) < 2:
            gaps.append(None)
            continue
        high, low = max(known, key=rate.__getitem__), min(known, key=rate.__getitem__)
        gap = {"highest": names[high], "lowest": names[low], "gap": float(rate[high] - rate[low])}
        if estimates is not None:
            pair = (one_of(estimates[g], c) for g in (high, low))
            [gap["gap_95_percent"]] = difference_intervals(difference_estimate(*pair)).tolist()
        gaps.append(gap)
    return gaps


def largest_gaps(gaps):
    """Return of each kind of group and rate the widest of all classes' gaps.

    Args:
        gaps: the "subgroup_gaps" of `measure_subgroups`: kind, rate, class (but for `MISSED`), gap.

    Returns:
        list of gaps, each with its "kind", "rate" and "class" ("" for `MISSED`); kinds and rates
        without any are left out.
    """
    largest = []
    for kind, rates in gaps.items():
        for rate, of_classes in rates.items():
            of_classes = {"": of_classes} if rate == MISSED else of_classes
            known = [gap | {"class": name} for name, gap in of_classes.items() if gap]
            if known:
                widest = max(known, key=lambda gap: gap["gap"])
                largest.append({"kind": kind, "rate": rate, **widest})
    return largest
