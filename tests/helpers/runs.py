"""Two runs of a training, compared to the bit."""

import numpy as np

from helpers.folders import tree
from weights.untrusted_files import read_pickle


def same_run(ours, theirs):
    """The same files, weights, moments, state and metrics, to the bit."""
    assert tree(ours) == tree(theirs)
    for name in ("metrics.csv", "curves.svg"):
        assert (ours / name).read_text() == (theirs / name).read_text()
    for name in tree(ours):
        if name.endswith((".pdparams", ".pdopt", ".pdstate")):
            assert same(read_pickle(ours / name), read_pickle(theirs / name)), name


def same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)
    return a == b or (a != a and b != b)
