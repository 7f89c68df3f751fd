"""Every figure of an evaluation, from labels and probabilities, as dicts of arrays.

A figure of each of C classes (14) is an array `[C]`, its intervals `[C, 2]`; NaN where it is not
defined.
The interval of one figure is a list: an array of two would be one of two classes.
`written_figures.for_json` makes of them what metrics.json has.
"""

import numpy as np

from evaluation.calibration import (
    brier_score,
    calibration_line,
    equal_mass,
    expected_calibration_error,
)
from evaluation.intervals import (
    METHOD,
    METHOD_OF_DIFFERENCES,
    SIGNIFICANT,
    auroc_estimate,
    average_precision_estimate,
    delong,
    difference_estimate,
    difference_intervals,
    holm,
    intervals,
    mean_estimate,
    p_values,
)
from evaluation.operating_points import calibrated_of
from evaluation.tested_films import count_films
from evaluation.thresholds import (
    GROUP_RATES,
    LEAST_POSITIVES,
    MISSED,
    RATES,
    rate_intervals,
    rates,
    rates_by_group,
    widest_gaps,
)
from films.label_lists import CLASS_NAMES
from metrics import auroc, average_precision, mean_defined


def measure(labels, probs, patients, with_intervals=True):
    """Return how well the probabilities rank films and how near they are to the truth.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown, which counts nowhere.
        probs: float `[N, C]`.
        patients: `[N]`, the patient of each film.
        with_intervals: 95 % intervals too (see `intervals`).

    Returns:
        dict of numbers, arrays `[C]` and `[C, 2]`.
    """
    figures = {
        **with_mean("auroc", auroc(labels, probs)),
        **with_mean("average_precision", average_precision(labels, probs)),
        "images": len(labels),
        "patients": len(set(patients)),
        **counts_of(labels, patients),
        "brier": brier_score(labels, probs),
        "expected_calibration_error": expected_calibration_error(labels, probs),
        "expected_calibration_error_equal_mass": expected_calibration_error(
            labels, probs, equal_mass
        ),
    }
    if with_intervals:
        ranked = auroc_estimate(labels, probs, patients)
        precise, biases = average_precision_estimate(labels, probs, patients)
        figures["auroc_95_percent"] = intervals(ranked)
        figures["auroc_mean_95_percent"] = intervals(mean_estimate(ranked))[0].tolist()
        figures["average_precision_95_percent"] = intervals(precise)
        mean = mean_estimate(precise, biases)
        figures["average_precision_mean_95_percent"] = intervals(mean)[0].tolist()
        figures["interval_method"] = METHOD
        # For readers of what earlier builds wrote, which drew resamples.
        figures["bootstrap"] = {"resamples": 0, "seed": None}
    return figures


def measure_thresholds(labels, probs, patients, thresholds, with_intervals=True):
    """Return what thresholds `[C]` give on these films (see `measure`)."""
    figures = rate_figures(labels, probs, patients, thresholds, with_intervals)
    all_films = [np.arange(len(labels))]
    found = rates_by_group(labels, probs, patients, thresholds, all_films)
    of_group = group_figures(0, *found, with_intervals)
    kept = ("ill", MISSED, f"{MISSED}_95_percent")
    return figures | {key: value for key, value in of_group.items() if key in kept}


def rate_figures(labels, probs, patients, thresholds, with_intervals):
    """Return thresholds `[C]`, their `rates` and, if asked for, the intervals of these."""
    figures = {"threshold": np.asarray(thresholds), **rates(labels, probs, thresholds)}
    if with_intervals:
        bounds = rate_intervals(labels, probs, patients, thresholds)
        figures |= {f"{rate}_95_percent": of_rate for rate, of_rate in bounds.items()}
    return figures


def measure_unions(unions, labels, probs, patients, thresholds=None, with_intervals=True):
    """Return the figures of unions of findings, as of a class: dict from name to dict.

    Args:
        unions: list of U `tested_films.Union`.
        labels, probs: `[N, U]`, of the unions.
        patients: `[N]`.
        thresholds: `[U]`, or None: no rates.
        with_intervals: as for `measure`.
    """
    found = measure(labels, probs, patients, with_intervals)
    kept = ["auroc", "average_precision", "positives", "labelled", "positive_patients", "brier"]
    if thresholds is not None:
        found |= rate_figures(labels, probs, patients, thresholds, with_intervals)
        kept += ["threshold", *RATES]
    kept = [key for key in found if key.removesuffix("_95_percent") in kept]
    return {
        union.name: {
            "findings": [CLASS_NAMES[c] for c in union.members],
            **{key: found[key][u].tolist() for key in kept},
        }
        for u, union in enumerate(unions)
    }


def measure_other_labels(labels, others, probs, patients, names=CLASS_NAMES):
    """Return how well the same probabilities agree with two sets of labels of the same films.

    Args:
        labels, others: `[N, C]`, 0, 1 or NaN. Each set counts where it is known.
        probs: `[N, C]`.
        patients: `[N]`.
        names: of the C findings.

    Returns:
        dict: from each name to "auroc" by `labels` and "auroc_by_others", and "difference" of the
        two, with intervals over the same patients; and how many films are "positive_in_both",
        "positive_here_only", "positive_there_only" among those that both know.
    """
    estimates = [auroc_estimate(each, probs, patients) for each in (labels, others)]
    difference = difference_estimate(*estimates)
    bounds = [intervals(each) for each in estimates]
    both_known = ~np.isnan(labels) & ~np.isnan(others)
    kinds = {"in_both": (1, 1), "here_only": (1, 0), "there_only": (0, 1)}
    counts = {
        f"positive_{kind}": (both_known & (labels == here) & (others == there)).sum(axis=0)
        for kind, (here, there) in kinds.items()
    }
    columns = {
        "auroc": estimates[0].value,
        "auroc_95_percent": bounds[0],
        "auroc_by_others": estimates[1].value,
        "auroc_by_others_95_percent": bounds[1],
        "difference": difference.value,
        "difference_95_percent": difference_intervals(difference),
        "labelled_by_both": both_known.sum(axis=0),
        **counts,
    }
    return {
        name: {key: values[c].tolist() for key, values in columns.items()}
        for c, name in enumerate(names)
    }


def measure_calibration(labels, probs, values):
    """Return how near probabilities are to the truth before and after they are calibrated.

    Args:
        labels, probs: `[N, C]`, of films that nothing was fitted on.
        values: what `reference_values` returned.

    Returns:
        dict: "method", "fitted" (dict by class), "before" and "after" (dicts of `[C]`).
    """
    kinds = {"before": np.asarray(probs, np.float64), "after": calibrated_of(probs, values)}
    figures = {
        "method": values["method"],
        "fitted": {name: facts["calibration"] for name, facts in values["by_class"].items()},
    }
    for kind, scores in kinds.items():
        slope, intercept = calibration_line(labels, scores)
        errors = expected_calibration_error(labels, scores, equal_mass)
        errors[np.isnan(scores).any(axis=0)] = np.nan
        figures[kind] = {
            "brier": brier_score(labels, scores),
            "expected_calibration_error_equal_mass": errors,
            "slope": slope,
            "intercept": intercept,
        }
    return figures


def measure_subgroups(labels, probs, patients, groups, thresholds=None, with_intervals=True):
    """Return `measure`'s figures for each of several groups of films, and rates at thresholds.

    Args:
        labels, probs, patients: as for `measure`.
        groups: dict of dicts of indices, as `nih_tables.subgroups` returns.
        thresholds: `[C]`, or None: no rates.

    Returns:
        dict: "subgroups", a dict of dicts like `groups`, and with thresholds "subgroup_gaps".
    """
    patients = np.asarray(patients)
    found, gaps = {}, {}
    for kind, members in groups.items():
        found[kind] = {
            group: measure(labels[index], probs[index], patients[index], with_intervals)
            for group, index in members.items()
        }
        if thresholds is not None:
            of_kind = rates_by_group(labels, probs, patients, thresholds, [*members.values()])
            for g, figures in enumerate(found[kind].values()):
                figures |= group_figures(g, *of_kind, with_intervals)
            gaps[kind] = gap_figures(list(members), *of_kind[1:], with_intervals)
    return {"subgroups": found} | ({} if thresholds is None else {"subgroup_gaps": gaps})


def measure_without_films(labels, facts):
    """Return the AUROCs that facts of the films' table reach, which no film was looked at for.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown.
        facts: dict from a name to float `[N]`, NaN for unknown, as `nih_tables.facts_of` returns.

    Returns:
        dict like `facts` with arrays `[C]`; facts that are known of no film are left out.
    """
    found = {}
    for name, values in facts.items():
        known = ~np.isnan(values)
        if known.any():
            of_each = np.broadcast_to(values[known, np.newaxis], labels[known].shape)
            found[name] = auroc(labels[known], of_each)
    return found


def group_figures(g, positives, found, estimates, with_intervals):
    """Return what `rates_by_group` found of its group g."""
    few = [name for name, n in zip(CLASS_NAMES, positives[g], strict=False) if n < LEAST_POSITIVES]
    figures = {"ill": int(positives[g, -1]), "too_few_positives": few}
    figures |= {rate: found[rate][g] for rate in (*GROUP_RATES, MISSED)}
    if with_intervals:
        for rate, of_groups in estimates.items():
            undefined = np.isnan(np.atleast_1d(found[rate][g]))[:, np.newaxis]
            bounds = np.where(undefined, np.nan, intervals(of_groups[g]))
            figures[f"{rate}_95_percent"] = bounds[0].tolist() if rate == MISSED else bounds
    return figures


def gap_figures(names, found, estimates, with_intervals):
    """Return the widest gaps between groups, by rate and class.

    Args:
        names: of the groups.
        found, estimates: what `rates_by_group` returned of them.
        with_intervals: whether gaps have them.
    """
    gaps = {}
    for rate, values in found.items():
        values = values.reshape(len(names), -1)  # of `MISSED` one column
        widest = widest_gaps(names, values, estimates[rate] if with_intervals else None)
        gaps[rate] = widest[0] if rate == MISSED else dict(zip(CLASS_NAMES, widest, strict=True))
    return gaps


def measure_difference(labels, a, b, patients):
    """Return how probabilities `a` rank films better than `b` do, class by class (see `measure`).

    Intervals and "patients_p" are over patients. DeLong's test takes films as independent and
    finds differences that are none; it is there to compare with others' figures. "survive" has the
    classes whose "patients_p" is small after Holm's adjustment.
    """
    tests = [delong(*column) for column in zip(labels.T, a.T, b.T, strict=True)]
    differences, delong_p = np.array(tests).T
    estimates = (auroc_estimate(labels, probs, patients) for probs in (a, b))
    estimate = difference_estimate(*estimates)
    of_mean = mean_estimate(estimate)
    mean, defined = mean_defined(differences)
    p = {"delong_p": delong_p, "patients_p": p_values(estimate)}
    adjusted = {f"{kind}_holm": holm(values) for kind, values in p.items()}
    small = adjusted["patients_p_holm"] < SIGNIFICANT  # NaN, where there is no test, is not
    return {
        "difference": differences,
        "mean_difference": mean,
        "mean_difference_over": defined,
        "images": len(labels),
        "patients": len(set(patients)),
        **counts_of(labels, patients),
        "difference_95_percent": difference_intervals(estimate),
        "mean_difference_95_percent": difference_intervals(of_mean)[0].tolist(),
        "mean_patients_p": p_values(of_mean)[0],
        "interval_method": METHOD_OF_DIFFERENCES,
        **p,
        **adjusted,
        "survive": [name for name, yes in zip(CLASS_NAMES, small, strict=True) if yes],
    }


def with_mean(figure, values):
    """Return a figure of each class, its mean, and over how many classes that is."""
    mean, defined = mean_defined(values)
    return {figure: values, f"{figure}_mean": mean, f"{figure}_mean_over": defined}


def counts_of(labels, patients):
    """Return how many films, and patients, each class has, and of how many it is known: `[C]`."""
    positive, patients = labels == 1, np.asarray(patients)
    return {
        "positives": positive.sum(axis=0),
        "labelled": (~np.isnan(labels)).sum(axis=0),
        "positive_patients": np.array([len(np.unique(patients[films])) for films in positive.T]),
    }


def participant_flow(listed, probs, validation=None):
    """Count films and patients from the list to the figures.

    No step drops a film without a word: one that is missing or does not decode ends the run, and
    predictions must be of all listed films. So "listed" and "evaluated" are the same films.

    Args:
        listed: the films that are tested, a `LabelList`.
        probs: float `[N, C]`, their probabilities.
        validation: the films that thresholds were chosen on, a `LabelList`, or None.

    Returns:
        dict for JSON: "listed" and "evaluated"; "by_class", of each class the films whose label is
        "known" and "unknown", those "with" and "without" the finding; "left_out", why a class has
        no AUROC and is not in the mean; and "validation". Films and patients everywhere; a patient
        with films of two kinds counts in both.
    """
    _, labels, patients = listed
    people = np.asarray(patients)
    kinds = {
        "known": ~np.isnan(labels),
        "unknown": np.isnan(labels),
        "with": labels == 1,
        "without": labels == 0,
    }
    by_class = {
        name: {kind: count_films(people[which[:, c]]) for kind, which in kinds.items()}
        for c, name in enumerate(CLASS_NAMES)
    }
    flow = {
        "listed": count_films(patients),
        "evaluated": count_films(people[~np.isnan(probs).any(axis=1)]),
        "by_class": by_class,
        "left_out": {name: why for name, of in by_class.items() if (why := _why_left_out(of))},
    }
    if validation is not None:
        flow["validation"] = count_films(validation.patients)
    return flow


def _why_left_out(counts):
    if not counts["known"]["films"]:
        return "no film whose label is known"
    missing = [kind for kind in ("with", "without") if not counts[kind]["films"]]
    return f"no film {missing[0]} it" if missing else None
