"""Error rates of groups of films at one threshold a class, and the gaps between groups."""

import numpy as np

from evaluation.intervals import (
    difference_estimate,
    difference_intervals,
    one_of,
    ratio_estimate,
)
from evaluation.operating_points import call, outcomes, patient_sums, rate_estimates

GROUP_RATES = ("sensitivity", "specificity", "precision")
# L. Seyyed-Kalantari et al., Nature Medicine 27 (2021) 2176: underdiagnosis.
MISSED = "called_healthy_though_ill"
ENOUGH = 30  # positive films in a group; of fewer no rate is given
UNKNOWN = "not known"


def rates_by_group(labels, probs, thresholds, groups, patients):
    """Return what thresholds give in groups of films.

    Args:
        labels, probs, thresholds: `[N, C]`, `[N, C]`, `[C]`, as for `operating_points.rates`. A
            film is ill with a finding that is known, whatever else is not.
        groups: of G groups, the indices of their films.
        patients: `[N]`, the patient of each film.

    Returns:
        positives: int `[G, C + 1]`, films of each class, and last those of any: the ill.
        found: dict from each of `GROUP_RATES` to float64 `[G, C]`, and from `MISSED` to `[G]`: the
            share of the ill that no threshold calls; NaN for fewer than `ENOUGH` positives.
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
        few = (positives[:, -1:] if rate == MISSED else positives[:, :-1]) < ENOUGH
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
            [bounds] = difference_intervals(difference_estimate(*pair))
            gap["gap_95_percent"] = [None if np.isnan(end) else float(end) for end in bounds]
        gaps.append(gap)
    return gaps


def largest_gaps(gaps):
    """Return of each kind of group and rate the widest of all classes' gaps.

    Args:
        gaps: "subgroup_gaps" of metrics.json: kind, rate, class (but for `MISSED`), gap.

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
