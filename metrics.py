"""AUROC and average precision per class, NaN where they are not defined; published figures."""

import numpy as np
import paddle

# Test AUROCs that others published, in the order of dataset.CLASS_NAMES; not this project's.
# name: (14 AUROCs, mean where one was given)
PUBLISHED = {
    # arXiv 1705.02315
    "Wang et al. 2017": (
        [0.716, 0.807, 0.784, 0.609, 0.706, 0.671, 0.633]
        + [0.806, 0.708, 0.835, 0.815, 0.769, 0.708, 0.767],
        None,
    ),
    # arXiv 1710.10501
    "Yao et al. 2017": (
        [0.772, 0.904, 0.859, 0.695, 0.792, 0.717, 0.713]
        + [0.841, 0.788, 0.882, 0.829, 0.767, 0.765, 0.914],
        None,
    ),
    # arXiv 1711.05225
    "CheXNet": (
        [0.8094, 0.9248, 0.8638, 0.7345, 0.8676, 0.7802, 0.7680]
        + [0.8887, 0.7901, 0.8878, 0.9371, 0.8047, 0.8062, 0.9164],
        0.841,
    ),
    # https://github.com/arnoweng/CheXNet, the released checkpoint
    "arnoweng/CheXNet": (
        [0.8294, 0.9165, 0.8870, 0.7143, 0.8597, 0.7873, 0.7745]
        + [0.8726, 0.8142, 0.8932, 0.9254, 0.8304, 0.7831, 0.9104],
        0.843,
    ),
    # the same project's improved model
    "arnoweng/CheXNet improved": (
        [0.8311, 0.9220, 0.8891, 0.7146, 0.8627, 0.7883, 0.7820]
        + [0.8844, 0.8148, 0.8992, 0.9343, 0.8385, 0.7914, 0.9206],
        0.848,
    ),
    # https://github.com/jm12138/Paddle-CheXNet
    "Paddle-CheXNet": (
        [0.8292, 0.9143, 0.8876, 0.7118, 0.8647, 0.7921, 0.7684]
        + [0.8771, 0.8161, 0.8987, 0.9302, 0.8374, 0.7962, 0.9311],
        0.847,
    ),
    # https://github.com/zoogzog/chexnet, the best published on these films
    "zoogzog/chexnet": (
        [0.8321, 0.9107, 0.8860, 0.7145, 0.8653, 0.8037, 0.7655]
        + [0.8857, 0.8157, 0.9017, 0.9422, 0.8523, 0.7948, 0.9416],
        0.8508,
    ),
}


def known_rows(labels, *others):
    """Return arrays without the rows whose label is unknown.

    Args:
        labels: `[N]`, NaN for unknown.
        others: arrays `[N, ...]`.

    Returns:
        list of arrays `[M, ...]`, the labels' first.
    """
    known = ~np.isnan(labels)
    arrays = [np.asarray(array) for array in (labels, *others)]
    return arrays if known.all() else [array[known] for array in arrays]


def known_columns(labels, scores):
    """Yield `known_rows` of each class: of the columns of labels and scores, `[N, C]` each."""
    for column in zip(np.asarray(labels).T, np.asarray(scores).T, strict=True):
        yield known_rows(*column)


def auroc(labels, scores):
    """Area under the ROC curve: the share of (positive, negative) pairs that are ranked right.

    The Mann-Whitney U statistic over the number of pairs; a tied pair counts one half.

    Args:
        labels: `[N]` or `[N, C]`, 0 or 1, or NaN for unknown, which counts nowhere.
        scores: float, of the same shape; only their order within a column matters.

    Returns:
        float for `[N]`, float64 `[C]` for `[N, C]`; NaN for a column without both labels, or with
        a NaN among its scores.
    """
    return _each_class(_auroc, labels, scores)


def average_precision(labels, scores):
    """Mean precision over the positive films, each called from its own score on.

    Sum of (recall's step x precision) over the distinct scores, as scikit-learn defines it:
    nothing is interpolated. Guessing gives the prevalence.

    Args:
        labels, scores: as for `auroc`.

    Returns:
        float for `[N]`, float64 `[C]` for `[N, C]`; NaN for a column without positives, or with a
        NaN among its scores.
    """
    return _each_class(_average_precision, labels, scores)


def _each_class(figure, labels, scores):
    """Return `figure(positive, scores)` of one class, or of each column."""
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape or labels.ndim not in (1, 2):
        raise ValueError(f"want [N] or [N, C] for both, got {labels.shape} and {scores.shape}")
    if labels.ndim == 2:
        columns = zip(labels.T, scores.T, strict=True)
        return np.array([_each_class(figure, *column) for column in columns], np.float64)
    labels, scores = known_rows(labels, scores)
    positive = labels.astype(bool)
    if not np.array_equal(positive, labels):
        raise ValueError("want labels of 0, 1 or NaN")
    return figure(positive, scores)


def _auroc(positive, scores):
    from scipy.stats import rankdata  # here: it takes a second to load, and training needs none

    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives or np.isnan(scores).any():
        return float("nan")
    # rankdata counts from 1 and gives tied scores their mean rank; from SciPy 1.18 on in the
    # precision of the scores, and float32 would round the sum.
    u = rankdata(scores.astype(np.float64))[positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def _average_precision(positive, scores):
    if not positive.any() or np.isnan(scores).any():
        return float("nan")
    own = np.sort(scores[positive])
    found = len(own) - np.searchsorted(own, own)  # positives that score as high
    called = len(scores) - np.searchsorted(np.sort(scores), own)
    return float(np.mean(found / called))


def mean_defined(values):
    """Return the mean of the values that are defined, and how many those are: (NaN, 0) if none."""
    defined = [value for value in values if not np.isnan(value)]
    return (float(np.mean(defined)) if defined else float("nan")), len(defined)


class _RunningU:
    """The U statistic of one class, kept up to date batch by batch.

    The scores seen stand in sorted runs, each more than twice as long as the next, so that N scores
    cost N log N in all, however many batches they come in. U counts half pairs, in whole numbers:
    no rounding builds up.
    """

    def __init__(self):
        self.runs = {True: [], False: []}  # label -> sorted runs of scores, longest first
        self.seen = {True: 0, False: 0}
        self.doubled_u = 0

    def update(self, labels, scores):
        # An unknown label, NaN, is neither.
        new = {label: np.sort(scores[labels == label]) for label in (True, False)}
        for negatives in [*self.runs[False], new[False]]:
            self.doubled_u += _doubled_u(new[True], negatives)
        for positives in self.runs[True]:
            self.doubled_u += _doubled_u(positives, new[False])
        for label, run in new.items():
            self.seen[label] += len(run)
            runs = self.runs[label]
            while runs and len(runs[-1]) <= 2 * len(run):
                # A stable sort of two sorted runs is a merge.
                run = np.sort(np.concatenate([runs.pop(), run]), kind="stable")
            if len(run):
                runs.append(run)

    def value(self):
        pairs = self.seen[True] * self.seen[False]
        return self.doubled_u / (2 * pairs) if pairs else float("nan")


def _doubled_u(positives, negatives):
    """Twice the number of pairs in which the positive scores higher; ties count once.

    Both come sorted. The shorter one is looked up in the longer one.
    """
    if len(positives) <= len(negatives):
        below = np.searchsorted(negatives, positives, "left").sum()
        not_above = np.searchsorted(negatives, positives, "right").sum()
        return int(below + not_above)
    return 2 * len(positives) * len(negatives) - _doubled_u(negatives, positives)


class AUROC(paddle.metric.Metric):
    """AUROC of each class and their mean over all batches since the last reset.

    `paddle.Model` asks for the value after every step, so the U statistic is kept, not recomputed.

    Args:
        class_names: C names; the metric's own are `AUROC_<class>` and `AUROC_avg`.
    """

    def __init__(self, class_names):
        super().__init__()
        self.class_names = tuple(class_names)
        self.reset()

    def reset(self):
        self._statistics = [_RunningU() for _ in self.class_names]
        self._nan_scores = np.zeros(len(self.class_names), bool)

    def update(self, probs, labels):
        """Add a batch.

        Args:
            probs: float `[N, C]`.
            labels: `[N, C]`, 0, 1 or NaN, as for `auroc`.
        """
        probs, labels = np.asarray(probs), np.asarray(labels)
        self._nan_scores |= np.isnan(probs).any(axis=0)
        for c, statistic in enumerate(self._statistics):
            statistic.update(labels[:, c], probs[:, c])

    def accumulate(self):
        """Return the C AUROCs and the mean of those that are defined: a list of C + 1 floats."""
        aurocs = [
            float("nan") if has_nan else statistic.value()
            for statistic, has_nan in zip(self._statistics, self._nan_scores, strict=True)
        ]
        return [*aurocs, mean_defined(aurocs)[0]]

    def name(self):
        return [f"AUROC_{name}" for name in (*self.class_names, "avg")]

    def state_dict(self):
        """Return what was seen: for each class the scores of positives and of negatives."""
        scores = [
            [np.concatenate([np.empty(0, np.float32), *statistic.runs[label]]) for label in (1, 0)]
            for statistic in self._statistics
        ]
        return {"scores": scores, "nan_scores": self._nan_scores}

    def set_state_dict(self, state):
        """Go on from what `state_dict` returned."""
        self.reset()
        self._nan_scores = state["nan_scores"].copy()
        for statistic, (positives, negatives) in zip(
            self._statistics, state["scores"], strict=True
        ):
            labels = np.repeat([True, False], [len(positives), len(negatives)])
            statistic.update(labels, np.concatenate([positives, negatives]))


class MeanLogLoss(paddle.metric.Metric):
    """Binary cross-entropy, the mean over all labels of the last pass that are known.

    It has no name, so that `paddle.Model` does not print it in every line: read `value`.

    Attributes:
        value: the mean, NaN before the first known label; it stays after a pass is over.
    """

    def __init__(self):
        super().__init__()
        self.value = float("nan")
        self.reset()

    def reset(self):
        self._sum, self._count = 0.0, 0

    def update(self, probs, labels):
        """Add a batch: probs float `[N, C]`, labels `[N, C]`, 0, 1 or NaN as for `auroc`."""
        probs, unknown = np.asarray(probs, np.float64), np.isnan(labels)
        # As PyTorch and Paddle do: a logarithm is at least -100.
        with np.errstate(divide="ignore"):
            logs = np.maximum(np.log(np.where(labels, probs, 1 - probs)), -100)
        logs[unknown] = 0
        self._sum += -logs.sum()
        self._count += logs.size - np.count_nonzero(unknown)
        self.value = float(self._sum / self._count) if self._count else float("nan")

    def accumulate(self):
        return []

    def name(self):
        return []


class AUROCAndLogLoss(AUROC):
    """AUROC, and the mean log loss beside it, of one fetch from the device a step.

    Two metrics would fetch probabilities and labels twice, and each fetch waits for the device.

    Args:
        class_names: as for `AUROC`.

    Attributes:
        log_loss: a `MeanLogLoss` of the same films.
    """

    def __init__(self, class_names):
        self.log_loss = MeanLogLoss()
        super().__init__(class_names)

    def reset(self):
        super().reset()
        self.log_loss.reset()

    def compute(self, probs, labels):
        """Put probabilities and labels, `[N, C]` each, side by side on the device: `[N, 2 C]`."""
        return paddle.concat([probs, labels], axis=1)

    def update(self, both):
        """Add a batch, float `[N, 2 C]`."""
        probs, labels = np.split(np.asarray(both), 2, axis=1)
        super().update(probs, labels)
        self.log_loss.update(probs, labels)


class Predictions(paddle.metric.Metric):
    """Collects what the network says, in the order of the data: one instance an evaluation.

    Attributes:
        probs: list of float32 `[n, C]`, one a batch.
    """

    def __init__(self):
        super().__init__()
        self.probs = []

    def reset(self):
        """Keep everything: `paddle.Model` resets metrics as an evaluation ends."""

    def compute(self, probs, labels):
        """Return only the probabilities: labels need not come back from the device."""
        return probs

    def update(self, probs):
        self.probs.append(probs)

    def accumulate(self):
        return sum(len(probs) for probs in self.probs)

    def name(self):
        return "films"
