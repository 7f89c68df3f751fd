"""Whether a network's outputs fit other classes than the ones that they are taken for.

A checkpoint does not say which class is which output: CheXpert has fourteen others, and an
alphabetical order is another.
"""

import numpy as np

from films.label_lists import CLASS_NAMES
from metrics import auroc

# Of the predictions that jrzech/reproduce-chexnet published, 60 samples each of 50, 100, 200, 300
# and 700 patients: in the right order none was doubted, in alphabetical order 8, 22, 88, 93, 100 %.
LEAST_GAIN = 0.05
LEAST_MEAN = 0.65  # below it nothing fits: a network that has learnt little, films that are few
LEAST_FILMS = 20  # with a class, and without it


def other_order(labels, probs):
    """Say how much better the outputs fit if they are taken for other classes; None: not much.

    The best assignment of outputs to classes has the largest mean AUROC (Kuhn 1955).

    Args:
        labels: `[N, C]`, 0, 1, or NaN where the label is unknown.
        probs: float `[N, C]`.
    """
    counts = np.stack([np.nansum(labels == kind, axis=0) for kind in (0, 1)])
    known = np.flatnonzero(counts.min(axis=0) >= LEAST_FILMS)
    if len(known) < 2:
        return None
    outputs = probs[:, known]
    fits = np.stack(  # [outputs, classes]
        [auroc(np.repeat(labels[:, [c]], len(known), axis=1), outputs) for c in known], axis=1
    )
    from scipy.optimize import linear_sum_assignment  # here: it takes a while to load

    rows, columns = linear_sum_assignment(-fits)
    as_named, best = np.diagonal(fits).mean(), fits[rows, columns].mean()
    if best < LEAST_MEAN or best - as_named < LEAST_GAIN:
        return None
    gains = fits[rows, columns] - np.diagonal(fits)
    example = gains.argmax()
    output, label = (CLASS_NAMES[known[n]] for n in (example, columns[example]))
    return (
        f"the outputs fit other classes better (mean AUROC {best:.3f} instead of {as_named:.3f}; "
        f"that of {output} is {fits[example, columns[example]]:.3f} for {label}): is the order of "
        "the network's classes, and of the list's, that of docs/data.md?"
    )
