"""Figures as they are written: as JSON, as text, and the words that tables and pages share."""

import numpy as np

from evaluation.intervals import FEW_PATIENTS, LEAST_PATIENTS
from evaluation.thresholds import LEAST_POSITIVES, MISSED
from films.label_lists import CLASS_NAMES

CALIBRATION_FIGURES = {
    "brier": "Brier score",
    "expected_calibration_error_equal_mass": "Calibration error",
    "slope": "Slope",
    "intercept": "Intercept",
}
FEW_WORDS = (
    f"fewer than {FEW_PATIENTS} patients with the finding: such an interval is less sure, and "
    f"fewer than {LEAST_PATIENTS} have none"
)


def for_json(figures):
    """Return figures in the form that metrics.json has: a dict by class for each array, no NaN.

    Args:
        figures: dict, with dicts and lists in it, of what `figures.measure` and the others return:
            arrays `[C]` and `[C, 2]`, a number or an interval for each class; lists of two, an
            interval; numbers, texts, None. What has this form already stays as it is.

    Returns:
        dict of dicts, lists, numbers, texts and None, which stands for NaN.
    """
    if isinstance(figures, dict):
        return {key: for_json(value) for key, value in figures.items()}
    if isinstance(figures, np.ndarray) and len(figures) == len(CLASS_NAMES):
        pairs = zip(CLASS_NAMES, figures.tolist(), strict=True)
        return {name: for_json(value) for name, value in pairs}
    if isinstance(figures, (np.ndarray, list, tuple)):
        return [for_json(value) for value in figures]
    if isinstance(figures, np.generic):
        figures = figures.item()
    return None if isinstance(figures, float) and np.isnan(figures) else figures


def number_text(value, form=".3f"):
    """Return a number as text; what is not defined, NaN or JSON's None, is nan."""
    return format(float("nan") if value is None else float(value), form)


def figure_text(value, interval=None, form=".3f"):
    """Return a figure and its interval as text: "0.841 (0.820 to 0.860)".

    Args:
        value: number, NaN or None.
        interval: (low, high), NaN or None where there is none; None: not asked for, nothing is
            said of it.
        form: of the numbers, as `format` takes it.
    """
    text = number_text(value, form)
    if interval is None:
        return text
    if any(bound is None or np.isnan(bound) for bound in interval):
        return f"{text} (no interval)"
    low, high = (number_text(bound, form) for bound in interval)
    return f"{text} ({low} to {high})"


def figure_of(figures, key, c=None, form=".3f"):
    """Return a figure, of class c if it has one for each, and its interval if it has any."""
    value, bounds = figures[key], figures.get(f"{key}_95_percent")
    if c is not None:
        value, bounds = value[c], None if bounds is None else bounds[c]
    return figure_text(value, bounds, form)


def missed_text(figures):
    """Return the share that is called healthy though ill, or why there is none, as text."""
    if figures["ill"] < LEAST_POSITIVES:
        films = "film" if figures["ill"] == 1 else "films"
        return f"{figures['ill']} {films} with a finding: fewer than {LEAST_POSITIVES}"
    return f"{figure_of(figures, MISSED)} of {figures['ill']} films"


def few_patients(counts):
    """Return the classes that some patients have, but too few for a sure interval.

    Args:
        counts: 14 numbers of patients with the finding.
    """
    pairs = zip(CLASS_NAMES, counts, strict=True)
    return [name for name, count in pairs if 0 < count < FEW_PATIENTS]


def is_mean_unsure(counts):
    """Tell whether most classes in a mean have too few patients for a sure interval.

    Args:
        counts: 14 numbers of patients with the finding.
    """
    return bool(2 * len(few_patients(counts)) > sum(count > 0 for count in counts))


def few_words(counts):
    """Return what a mark beside a class says, and beside the mean, if it has one."""
    of_mean = "; most classes of the mean are such" if is_mean_unsure(counts) else ""
    return FEW_WORDS + of_mean


def table_text(rows, indent="  ", gap="  "):
    """Return a table as text, its columns as wide as their widest text.

    Args:
        rows: tuples of texts; a row may end early, and its last text is not counted then.
        indent: before each line.
        gap: between columns.
    """
    rows = list(rows)
    columns = max(map(len, rows))
    # What a short row ends with may run over the columns behind it.
    kept = [row if len(row) == columns else row[:-1] for row in rows]
    widths = [max((len(row[n]) for row in kept if n < len(row)), default=0) for n in range(columns)]
    lines = (
        gap.join(text.ljust(width) for text, width in zip(row, widths, strict=False))
        for row in rows
    )
    return "\n".join((indent + line).rstrip() for line in lines)
