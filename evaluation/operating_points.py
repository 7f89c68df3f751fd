"""Decisions from probabilities: thresholds, and what they give on other films."""

import json

import numpy as np

from dataset import CLASS_NAMES, patient, read_label_list
from evaluation.predictions_csv import read_predictions
from metrics import interval, resample_weights
from runtime.files import UserError, first_line

RATES = ("sensitivity", "specificity", "precision", "f1")


def choose_thresholds(labels, probs, rule="youden"):
    """Choose a threshold for each class; on films that nothing is reported on afterwards.

    Args:
        labels: `[N, C]`, 0 or 1.
        probs: float `[N, C]`.
        rule: "youden", the largest sensitivity + specificity - 1 (W. J. Youden, Cancer 3 (1950)
            32), or "f1", the largest F1. Of several, the highest threshold.

    Returns:
        float64 `[C]`: a film is called positive from its class's threshold on; NaN for a class
        without both kinds of label.
    """
    from sklearn.metrics import precision_recall_curve, roc_curve  # here: a second to load

    labels, probs = np.asarray(labels).astype(bool), np.asarray(probs, np.float64)
    thresholds = np.full(labels.shape[1], np.nan)
    for c in range(labels.shape[1]):
        if labels[:, c].all() or not labels[:, c].any():
            continue
        if rule == "youden":
            false, true, candidates = roc_curve(labels[:, c], probs[:, c], drop_intermediate=False)
            # The first candidate is infinity, which calls nothing positive.
            thresholds[c] = candidates[1:][np.argmax((true - false)[1:])]
        else:
            precision, recall, candidates = precision_recall_curve(labels[:, c], probs[:, c])
            total = precision + recall
            f1 = 2 * precision * recall / np.where(total > 0, total, 1)
            highest_first = f1[:-1][::-1]  # the last point has no threshold
            thresholds[c] = candidates[::-1][np.argmax(highest_first)]
    return thresholds


def thresholds_from_validation(predictions, label_list, test_list, rule):
    """Choose thresholds on validation films, none of whose patients is tested.

    Args:
        predictions: predictions.csv of the validation films.
        label_list: their labels.
        test_list: label list of the films that are tested.
        rule: as for `choose_thresholds`.

    Returns:
        float64 `[14]`.

    Raises:
        UserError: a file is broken, or a patient is in both lists.
    """
    names, labels = read_label_list(label_list)
    probs = read_predictions(predictions, names, "--thresholds-list")
    tested = {patient(name) for name in read_label_list(test_list)[0]}
    shared = [name for name in names if patient(name) in tested]
    if shared:
        raise UserError(
            f"{predictions}: want patients that are not in {test_list}, got {len(shared)} films "
            f"of such, {shared[0]} first; thresholds are never chosen on test films"
        )
    return choose_thresholds(labels, probs, rule)


def read_thresholds(path):
    """Read the thresholds that `eval.py --thresholds-from` left in its metrics.json.

    Returns:
        dict from class to threshold, NaN for a class that has none.

    Raises:
        UserError: the file is missing, broken, or has no thresholds.
    """
    try:
        with open(path, encoding="utf-8") as file:
            thresholds = json.load(file)["thresholds"]["threshold"]
        return {
            name: np.nan if thresholds[name] is None else float(thresholds[name])
            for name in CLASS_NAMES
        }
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: want a metrics.json with thresholds, got another file ({first_line(error)}); "
            "make one with eval.py --thresholds-from"
        ) from None


def rates(labels, probs, thresholds, weights=None):
    """Return what thresholds give.

    Args:
        labels: `[N, C]`, 0 or 1.
        probs: float `[N, C]`.
        thresholds: `[C]`.
        weights: `[B, N]`, how often each film counts in each of B resamples; None: once.

    Returns:
        dict from each of `RATES` to float64 `[C]`, or `[B, C]` with weights; NaN where a rate's
        denominator is 0 or the threshold is NaN.
    """
    labels = np.asarray(labels).astype(bool)
    called = np.asarray(probs, np.float64) >= thresholds
    weights = np.ones(len(labels)) if weights is None else weights

    def count(films):
        return np.where(np.isnan(thresholds), np.nan, weights @ films.astype(np.float64))

    true_positive, false_positive = count(called & labels), count(called & ~labels)
    false_negative, true_negative = count(~called & labels), count(~called & ~labels)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "sensitivity": true_positive / (true_positive + false_negative),
            "specificity": true_negative / (true_negative + false_positive),
            "precision": true_positive / (true_positive + false_positive),
            "f1": 2 * true_positive / (2 * true_positive + false_positive + false_negative),
        }


def rate_intervals(labels, probs, thresholds, groups, resamples=1000, seed=0):
    """Return 95 % intervals of the rates by bootstrap over patients (see `metrics.bootstrap`).

    Returns:
        dict from each of `RATES` to a list of C pairs (low, high).
    """
    drawn = {name: [] for name in RATES}
    for weights in resample_weights(groups, resamples, seed):
        for name, values in rates(labels, probs, thresholds, weights).items():
            drawn[name].append(values)
    return {
        name: [interval(column) for column in np.concatenate(values).T]
        for name, values in drawn.items()
    }
