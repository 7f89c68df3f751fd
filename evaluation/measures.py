"""Every figure of an evaluation, from labels and probabilities, as dicts for JSON."""

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
    auroc_estimate,
    average_precision_estimate,
    difference_estimate,
    difference_intervals,
    intervals,
    mean_estimate,
    p_values,
)
from evaluation.localization import score_map, summarize
from evaluation.operating_points import RATES, rate_intervals, rates
from evaluation.reference_values import calibrated_of
from evaluation.significance import LEVEL, delong, holm
from evaluation.subgroup_rates import ENOUGH, GROUP_RATES, MISSED, rates_by_group, widest_gaps
from films.label_lists import CLASS_NAMES
from metrics import auroc, average_precision, mean_defined


def measure(patients, labels, probs, with_intervals=True):
    """Return how well the probabilities rank films and how near they are to the truth.

    Args:
        patients: `[N]`, the patient of each film.
        labels: `[N, 14]`, 0, 1 or NaN for unknown, which counts nowhere.
        probs: float `[N, 14]`.
        with_intervals: 95 % intervals too (see `intervals`).

    Returns:
        dict for JSON; None where a figure is not defined.
    """
    figures = {
        **with_mean("auroc", auroc(labels, probs)),
        **with_mean("average_precision", average_precision(labels, probs)),
        "images": len(labels),
        "patients": len(set(patients)),
        **counts_of(labels, patients),
        "brier": by_class(brier_score(labels, probs)),
        "expected_calibration_error": by_class(expected_calibration_error(labels, probs)),
        "expected_calibration_error_equal_mass": by_class(
            expected_calibration_error(labels, probs, equal_mass)
        ),
    }
    if with_intervals:
        precision, biases = average_precision_estimate(labels, probs, patients)
        means = {
            "auroc": mean_estimate(estimate := auroc_estimate(labels, probs, patients)),
            "average_precision": mean_estimate(precision, biases),
        }
        for figure, of_classes in (("auroc", estimate), ("average_precision", precision)):
            figures[f"{figure}_95_percent"] = by_class(intervals(of_classes))
            figures[f"{figure}_mean_95_percent"] = pair(intervals(means[figure])[0])
        figures["interval_method"] = METHOD
    return figures


def measure_thresholds(patients, labels, probs, thresholds, with_intervals=True):
    """Return what thresholds `[14]` give on these films (see `measure`)."""
    found = rates(labels, probs, thresholds)
    figures = {
        "threshold": by_class(thresholds),
        **{rate: by_class(found[rate]) for rate in RATES},
    }
    whole = [np.arange(len(labels))]
    found = rates_by_group(labels, probs, thresholds, whole, patients)
    kept = ("ill", MISSED, f"{MISSED}_95_percent")
    figures |= {
        key: value for key, value in group_figures(0, *found, with_intervals).items() if key in kept
    }
    if with_intervals:
        bounds = rate_intervals(labels, probs, thresholds, patients)
        figures |= {f"{rate}_95_percent": by_class(bounds[rate]) for rate in RATES}
    return figures


def measure_calibration(labels, probs, values):
    """Return how near probabilities are to the truth before and after they are calibrated.

    Args:
        labels, probs: `[N, 14]`, of films that nothing was fitted on.
        values: what `reference_values` returned.

    Returns:
        dict for JSON: "method", "fitted" (of each class), "before" and "after".
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
            "brier": by_class(brier_score(labels, scores)),
            "expected_calibration_error_equal_mass": by_class(errors),
            "slope": by_class(slope),
            "intercept": by_class(intercept),
        }
    return figures


def measure_subgroups(patients, labels, probs, groups, thresholds=None, with_intervals=True):
    """Return `measure`'s figures for each of several groups of films, and rates at thresholds.

    Args:
        groups: dict of dicts of indices, as `annotations.subgroups` returns.
        thresholds: `[14]`, or None: no rates.

    Returns:
        dict for metrics.json: "subgroups", a dict of dicts like `groups`, and with thresholds
        "subgroup_gaps".
    """
    patients = np.asarray(patients)
    found = {
        kind: {
            group: measure(patients[index], labels[index], probs[index], with_intervals)
            for group, index in members.items()
        }
        for kind, members in groups.items()
    }
    if thresholds is None:
        return {"subgroups": found}
    members = [index for of_kind in groups.values() for index in of_kind.values()]
    rates = rates_by_group(labels, probs, thresholds, members, patients)
    gaps, g = {}, 0
    for kind, of_kind in found.items():
        gaps[kind] = gap_figures(
            list(of_kind), slice(g, g + len(of_kind)), *rates[1:], with_intervals
        )
        for figures in of_kind.values():
            figures |= group_figures(g, *rates, with_intervals)
            g += 1
    return {"subgroups": found, "subgroup_gaps": gaps}


def group_figures(g, positives, found, estimates, with_intervals):
    """Return what `rates_by_group` found of its group g, for JSON."""
    few = [name for name, count in zip(CLASS_NAMES, positives[g], strict=False) if count < ENOUGH]
    figures = {"ill": int(positives[g, -1]), "too_few_positives": few}
    for rate in GROUP_RATES:
        figures[rate] = by_class(found[rate][g])
    figures[MISSED] = number(found[MISSED][g])
    if with_intervals:
        for rate, of_groups in estimates.items():
            unknown = np.isnan(np.atleast_1d(found[rate][g]))[:, np.newaxis]
            bounds = np.where(unknown, np.nan, intervals(of_groups[g]))
            figures[f"{rate}_95_percent"] = pair(bounds[0]) if rate == MISSED else by_class(bounds)
    return figures


def gap_figures(names, rows, found, estimates, with_intervals):
    """Return the widest gaps between some groups, by rate and class, for JSON.

    Args:
        names: of these groups.
        rows: their slice of what `rates_by_group` found.
        found, estimates: what it found.
        with_intervals: whether gaps have them.
    """
    gaps = {}
    for rate, values in found.items():
        values = values[rows].reshape(len(names), -1)
        widest = widest_gaps(names, values, estimates[rate][rows] if with_intervals else None)
        gaps[rate] = widest[0] if rate == MISSED else dict(zip(CLASS_NAMES, widest, strict=True))
    return gaps


def measure_localization(boxes, maps):
    """Return how well maps find boxes.

    Args:
        boxes: list of K `annotations.Box`.
        maps: iterable of K float `[H, W]`, each of a box's film and finding, in its pixels.

    Returns:
        dict from class, of those that have boxes, and "all" to what `localization.summarize`
        returns.
    """
    scores = {}
    for box, activation in zip(boxes, maps, strict=True):
        score = score_map(activation, (box.left, box.top, box.right, box.bottom))
        scores.setdefault(box.finding, []).append(score)
    figures = {name: summarize(scores[name]) for name in CLASS_NAMES if name in scores}
    return figures | {"all": summarize([score for each in scores.values() for score in each])}


def measure_difference(patients, labels, a, b):
    """Return how probabilities `a` rank films better than `b` do, class by class (see `measure`).

    Intervals and "patients_p" are over patients. DeLong's test takes films as independent and
    finds differences that are none; it is there to compare with others' figures. "survive" has the
    classes whose "patients_p" is small after Holm's adjustment.
    """
    tests = [delong(*column) for column in zip(labels.T, a.T, b.T, strict=True)]
    differences = [difference for difference, _ in tests]
    mean, defined = mean_defined(differences)
    estimates = (auroc_estimate(labels, probs, patients) for probs in (a, b))
    estimate = difference_estimate(*estimates)
    of_mean = mean_estimate(estimate)
    p = {"delong_p": [p for _, p in tests], "patients_p": p_values(estimate)}
    adjusted = {f"{kind}_holm": holm(values) for kind, values in p.items()}
    small = adjusted["patients_p_holm"] < LEVEL  # NaN, where there is no test, is not
    return {
        "difference": by_class(differences),
        "mean_difference": number(mean),
        "mean_difference_over": defined,
        "images": len(labels),
        "patients": len(set(patients)),
        **counts_of(labels, patients),
        "difference_95_percent": by_class(difference_intervals(estimate)),
        "mean_difference_95_percent": pair(difference_intervals(of_mean)[0]),
        "mean_patients_p": number(p_values(of_mean)[0]),
        "interval_method": METHOD_OF_DIFFERENCES,
        **{kind: by_class(values) for kind, values in (p | adjusted).items()},
        "survive": [name for name, yes in zip(CLASS_NAMES, small, strict=True) if yes],
    }


def with_mean(figure, values):
    """Return a figure of each class, its mean, and over how many classes that is, for JSON."""
    mean, defined = mean_defined(values)
    return {
        figure: by_class(values),
        f"{figure}_mean": number(mean),
        f"{figure}_mean_over": defined,
    }


def counts_of(labels, patients):
    """Return for JSON how many films, and patients, each class has, and of how many it is known."""
    positive, patients = labels == 1, np.asarray(patients)
    counts = {
        "positives": positive.sum(axis=0).tolist(),
        "labelled": (~np.isnan(labels)).sum(axis=0).tolist(),
        "positive_patients": [len(np.unique(patients[films])) for films in positive.T],
    }
    return {key: dict(zip(CLASS_NAMES, each, strict=True)) for key, each in counts.items()}


def by_class(values):
    """Return a dict for JSON from class to number, or to a pair of them."""
    return {
        name: pair(value) if np.ndim(value) else number(value)
        for name, value in zip(CLASS_NAMES, values, strict=True)
    }


def pair(values):
    """Return (low, high) for JSON."""
    return [number(value) for value in values]


def number(value):
    """Return a float for JSON, which has no NaN: None then."""
    return None if np.isnan(value) else float(value)
