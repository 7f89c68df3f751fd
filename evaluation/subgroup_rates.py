"""Error rates of groups of films at one threshold a class, and the gaps between groups."""

import numpy as np

from evaluation.operating_points import call, outcomes, rates_of, resampled_counts
from metrics import interval

GROUP_RATES = ("sensitivity", "specificity", "precision")
# L. Seyyed-Kalantari et al., Nature Medicine 27 (2021) 2176: underdiagnosis.
MISSED = "called_healthy_though_ill"
ENOUGH = 30  # positive films in a group; of fewer no rate is given
UNKNOWN = "not known"


def rates_by_group(labels, probs, thresholds, groups, patients, resamples=1000, seed=0):
    """Return what thresholds give in groups of films.

    Args:
        labels, probs, thresholds: `[N, C]`, `[N, C]`, `[C]`, as for `operating_points.rates`. A
            film is ill with a finding that is known, whatever else is not.
        groups: of G groups, the indices of their films.
        patients: `[N]`, the patient of each film.
        resamples: for 95 % intervals by bootstrap over patients; 0: none.
        seed: of the resamples.

    Returns:
        positives: int `[G, C + 1]`, films of each class, and last those of any: the ill.
        found: dict from each of `GROUP_RATES` to float64 `[G, C]`, and from `MISSED` to `[G]`: the
            share of the ill that no threshold calls; NaN for fewer than `ENOUGH` positives.
        drawn: likewise `[B, G, C]` and `[B, G]`, in each resample the same patients in all groups;
            empty without resamples.
    """
    labels, called = np.asarray(labels), call(probs, thresholds)
    # Any finding is one more class.
    healthy = (labels == 0).all(axis=1)
    ill = np.where((labels == 1).any(axis=1), 1, np.where(healthy, 0, np.nan))
    labels = np.column_stack([labels, ill])
    called = np.column_stack([called, (called == 1).any(axis=1)])
    of_films = outcomes(labels, called)
    counts = np.stack([of_films[index].sum(axis=0) for index in groups])
    positives = counts[:, 2].astype(int)
    found = _with_missed(counts, positives)
    if not resamples:
        return positives, found, {}
    drawn = resampled_counts(of_films, groups, patients, resamples, seed)
    return positives, found, _with_missed(drawn, positives)


def _with_missed(counts, positives):
    found = rates_of(counts)
    found = {rate: np.where(positives < ENOUGH, np.nan, found[rate]) for rate in GROUP_RATES}
    missed = 1 - found["sensitivity"][..., -1]
    return {rate: values[..., :-1] for rate, values in found.items()} | {MISSED: missed}


def widest_gaps(names, found, drawn):
    """Return for each class between which two groups a rate differs most, and by how much.

    The interval is of the difference of these two groups. It does not know that they were chosen
    for being farthest apart.

    Args:
        names: of G groups; `UNKNOWN` is not compared.
        found: `[G, C]`, NaN where a group has too few films.
        drawn: `[B, G, C]`, or None.

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
        if drawn is not None:
            gap["gap_95_percent"] = interval(drawn[:, high, c] - drawn[:, low, c])
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
