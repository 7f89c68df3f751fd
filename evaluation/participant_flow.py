"""How many films and patients are at each step of an evaluation (CLAIM 2020, item 33)."""

import numpy as np

from films.label_lists import CLASS_NAMES


def participant_flow(listed, probs, validation=None):
    """Count films and patients from the list to the figures.

    No step drops a film without a word: one that is missing or does not decode ends the run, and
    predictions must be of all listed films. So "listed" and "evaluated" are the same films.

    Args:
        listed: the films that are tested, a `dataset.LabelList`.
        probs: float `[N, 14]`, their probabilities.
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
        name: {kind: _count(people, which[:, c]) for kind, which in kinds.items()}
        for c, name in enumerate(CLASS_NAMES)
    }
    flow = {
        "listed": _all_of(patients),
        "evaluated": _count(people, ~np.isnan(probs).any(axis=1)),
        "by_class": by_class,
        "left_out": {name: why for name, of in by_class.items() if (why := _why_left_out(of))},
    }
    if validation is not None:
        flow["validation"] = _all_of(validation.patients)
    return flow


def _why_left_out(counts):
    if not counts["known"]["films"]:
        return "no film whose label is known"
    missing = [kind for kind in ("with", "without") if not counts[kind]["films"]]
    return f"no film {missing[0]} it" if missing else None


def _count(people, which):
    """Return the films that a mask chooses, and how many people those are of."""
    return _all_of(people[which])


def _all_of(patients):
    return {"films": len(patients), "patients": len(set(patients))}
