"""What a probability means: operating_points.json, made of validation films and read with films."""

import json
from typing import NamedTuple

import numpy as np

from evaluation.calibration import calibrate, fit_calibration
from evaluation.intervals import FEW_PATIENTS
from films.label_lists import CLASS_NAMES
from metrics import known_columns
from runtime.files import UserError, what_is_wrong

QUANTILE_LEVELS = [n / 100 for n in range(101)]  # of the quantiles


class Meaning(NamedTuple):
    """What is known of a film's probability of a finding; NaN and None where nothing is."""

    threshold: float
    calibrated: float = np.nan
    base_rate: float = np.nan  # share of the validation films that have the finding
    above: int | None = None  # per cent of the validation films without it that are less likely
    positives: int | None = None  # validation films that have the finding

    def caution(self):
        """Return a warning of a threshold that few films with the finding have chosen, or ""."""
        return f"caution: {self.few()} with it" if self.few() else ""

    def few(self):
        """Return by how many films with the finding, if they are few, as text; else ""."""
        few = self.positives is not None and self.positives < FEW_PATIENTS
        return f"by {self.positives} films" if few else ""

    def decision(self, prob):
        """Return "positive" or "negative"; "" without a threshold."""
        if np.isnan(self.threshold):
            return ""
        return "positive" if float(prob) >= self.threshold else "negative"  # as eval.py: in float64


def reference_values(labels, probs, patients, thresholds, method):
    """Return what validation films say of probabilities, for operating_points.json.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown, which counts nowhere.
        probs: float `[N, C]`.
        patients: `[N]`, the patient of each film.
        thresholds: `[C]`, NaN where there is none, that were chosen on them.
        method: as for `fit_calibration`.

    Returns:
        dict for JSON; None where a figure is not defined.
    """
    by_class = {}
    columns = known_columns(labels, np.asarray(probs, np.float64))
    for name, threshold, (known, scores) in zip(CLASS_NAMES, thresholds, columns, strict=True):
        positive = known == 1
        by_class[name] = {
            "films": len(known),
            "positives": int(positive.sum()),
            "prevalence": float(positive.mean()) if len(known) else None,
            "threshold": None if np.isnan(threshold) else float(threshold),
            "quantiles_without": _quantiles(scores[~positive]),
            "quantiles_with": _quantiles(scores[positive]),
            "calibration": fit_calibration(positive, scores, method) if len(known) else None,
        }
    return {
        "method": method,
        "levels": QUANTILE_LEVELS,
        "films": len(labels),
        "patients": len(set(patients)),
        "by_class": by_class,
    }


def _quantiles(scores):
    # "lower": values that occur, so that what is above one is above a film.
    return np.quantile(scores, QUANTILE_LEVELS, method="lower").tolist() if len(scores) else None


def calibrated_of(probs, values):
    """Return calibrated probabilities, float `[N, C]` -> float64 `[N, C]`; NaN without any."""
    fitted = [values["by_class"][name]["calibration"] for name in CLASS_NAMES]
    return np.stack([calibrate(*column) for column in zip(probs.T, fitted, strict=True)], axis=1)


def meaning(values, name, prob):
    """Return the `Meaning` of a film's probability of a class, by reference values."""
    facts = values["by_class"][name]
    without = facts["quantiles_without"]
    above = None
    if without is not None:
        above = max(int(np.searchsorted(without, float(prob))) - 1, 0)  # how many are below
    return Meaning(
        _number(facts["threshold"]),
        float(calibrate(prob, facts["calibration"])),
        _number(facts["prevalence"]),
        above,
        facts["positives"],
    )


def meanings(probs, thresholds=None, values=None):
    """Return what is known of a film's probabilities.

    Args:
        probs: float `[C]`.
        thresholds: what `read_thresholds` returned, or None.
        values: what `read_reference` returned, or None.

    Returns:
        dict from class to its `Meaning`; empty where nothing is known.
    """
    if values:
        pairs = zip(CLASS_NAMES, probs, strict=True)
        return {name: meaning(values, name, prob) for name, prob in pairs}
    return {name: Meaning(threshold) for name, threshold in (thresholds or {}).items()}


def none_above(probs, known):
    """Say that a film reaches none of the known thresholds (see `meanings`).

    Returns:
        Text; "" where it reaches one, or there is none.
    """
    pairs = zip(known.values(), probs, strict=True) if known else ()
    decisions = [decision for each, prob in pairs if (decision := each.decision(prob))]
    if not decisions or "positive" in decisions:
        return ""
    few = f" (of the {len(decisions)} that have one)" if len(decisions) < len(CLASS_NAMES) else ""
    return f"no finding above its threshold{few}"


def read_figures(path, pick, what, remedy="make one"):
    """Return what `pick` takes of the dict that a JSON file of eval.py holds.

    Raises:
        UserError: the file is broken or another: `pick` raises what reading JSON does.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return pick(json.load(file))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not {what} ({what_is_wrong(error)}); {remedy}") from None


def read_thresholds(path):
    """Read the thresholds that `eval.py --thresholds-from` left in its metrics.json.

    Returns:
        dict from class to threshold, NaN for a class that has none; and all that the file holds.
    """

    def pick(metrics):
        thresholds = metrics["thresholds"]["threshold"]
        return {name: _number(thresholds[name]) for name in CLASS_NAMES}, metrics

    remedy = "make one with eval.py --thresholds-from"
    return read_figures(path, pick, "a metrics.json with thresholds", remedy)


def read_reference(path):
    """Read the operating_points.json that `eval.py --reference-from` wrote.

    Returns:
        dict, as `reference_values` returned it, and what is known of the network.
    """

    def pick(values):
        for name in CLASS_NAMES:
            _check(name, values["by_class"][name])
        return values

    remedy = "make one with eval.py --reference-from"
    return read_figures(path, pick, "an operating_points.json", remedy)


def _check(name, facts):
    """Raise what `read_reference` catches unless the values of a class can be used."""
    for key in ("threshold", "prevalence"):
        _number(facts[key])
    int(facts["positives"])
    curves = [facts["quantiles_without"], facts["quantiles_with"]]
    fitted = facts["calibration"]
    if fitted is not None and "slope" in fitted:
        if not np.isfinite([float(fitted["slope"]), float(fitted["intercept"])]).all():
            raise ValueError(f"a calibration of {name} that is not a number")
    elif fitted is not None:
        curves += [fitted["probability"], fitted["calibrated"]]
        if len(curves[-1]) != len(curves[-2]):
            raise ValueError(f"a calibration of {name} whose lists differ in length")
    for curve in curves:
        if curve is not None and (np.ndim(curve) != 1 or not (np.diff([0, *curve, 1]) >= 0).all()):
            raise ValueError(f"values of {name} that do not rise from 0 to 1")


def _number(value):
    """Return a float of JSON, which has None for NaN."""
    return np.nan if value is None else float(value)
