"""The figures of the report page: two dot plots, and four kinds of curves of each class."""

import io
import math

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from sklearn.metrics import precision_recall_curve, roc_curve

from evaluation.calibration import calibrate, equal_mass, reliability_curve, share_intervals
from evaluation.thresholds import net_benefit
from evaluation.written_figures import figure_of, number_text
from films.label_lists import CLASS_NAMES
from metrics import PUBLISHED, known_rows

# Of the palette of Okabe and Ito, told apart by the colour-blind; shapes differ as well.
OURS, THEIRS, THEIRS_TOO, CHANCE = "#0072B2", "#D55E00", "#009E73", "#666666"
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "chexnet",  # the same figure is the same file
}
CURVE_POINTS = 200  # of a curve that are drawn, at most: more cannot be seen at this size
LOG_BELOW = 0.2  # logarithmic axes where no bin has a higher mean probability
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
CURVES = {
    "roc": "ROC curves",
    "precision_recall": "Precision and recall",
    "reliability": "Reliability",
    "net_benefit": "Net benefit",
}


def draw_figures(metrics, labels, probs, patients):
    """Draw a figure of all classes for "auroc", "average_precision" and each of `CURVES`.

    Args:
        metrics: what `figures.measure` and the others returned.
        labels: `[N, C]`, 0, 1 or NaN for unknown, which is not drawn.
        probs: float `[N, C]`.
        patients: `[N]`, the patient of each film.

    Returns:
        dict from name to dict from "svg" and "png" to the file's bytes.
    """
    with rc_context(STYLE):
        figures = {name: Figure((4.5, 5.2)) for name in ("auroc", "average_precision")}
        for name, figure in figures.items():
            axes = figure.add_axes((0.27, 0.1, 0.7, 0.75))
            _draw_dots(axes, metrics, name)
        known = np.flatnonzero(metrics["labelled"])
        for kind, draw in _DRAW.items():
            # Fixed margins: fitting them takes longer than all else.
            figures[kind] = Figure((10, 10))
            margins = {"left": 0.06, "right": 0.98, "bottom": 0.06, "top": 0.95}
            grid = figures[kind].subplots(
                4, 4, gridspec_kw={**margins, "wspace": 0.4, "hspace": 0.7}
            )
            for axes in grid.flat[len(known) :]:
                axes.axis("off")
            for axes, c in zip(grid.flat, known, strict=False):
                draw(axes, metrics, c, *known_rows(labels[:, c], probs[:, c], patients))
        return files_of(figures)


def draw_panels(metrics, labels, probs, patients):
    """Draw a small figure for each class of which a label is known, in SVG.

    Returns:
        dict from each of `CURVES` to a list of files, bytes.
    """
    with rc_context(STYLE):
        return {
            kind: [
                figure_bytes(_panel(draw, metrics, c, labels[:, c], probs[:, c], patients))
                for c in np.flatnonzero(metrics["labelled"])
            ]
            for kind, draw in _DRAW.items()
        }


def _panel(draw, metrics, c, *columns):
    """Draw a panel of its own."""
    figure = Figure((2.2, 2.2))
    draw(figure.add_axes((0.22, 0.2, 0.72, 0.62)), metrics, c, *known_rows(*columns))
    return figure


def _draw_dots(axes, metrics, figure):
    """A figure of each class with its interval, beside chance and published AUROCs."""
    known = np.flatnonzero(metrics["labelled"])
    y = np.arange(len(known))
    label, bounds = "this run", metrics.get(f"{figure}_95_percent")
    if bounds is not None:
        label = "this run, 95 % interval"
        axes.hlines(y, *bounds[known].T, color=OURS, linewidth=2)
    # Not clipped: an AUROC of 1 is on the edge.
    axes.plot(metrics[figure][known], y, "o", color=OURS, clip_on=False, label=label)
    if figure == "auroc":
        shown = ("CheXNet", "D", THEIRS), ("Paddle-CheXNet", "s", THEIRS_TOO)
        for name, marker, colour in shown if has_published(metrics) else ():
            theirs, label = PUBLISHED[name][0], f"{name} (published)"
            axes.plot(theirs, y, marker, color=colour, fillstyle="none", label=label)
        axes.axvline(0.5, color=CHANCE, linestyle=":", linewidth=1, label="guessing")
    else:
        shares = metrics["positives"][known] / metrics["labelled"][known]
        axes.plot(shares, y, "|", color=CHANCE, ms=10, label="prevalence, as by guessing")
    axes.set_yticks(y, [CLASS_NAMES[c] for c in known])
    axes.set_ylim(len(y) - 0.4, -0.6)  # the last row too where its class has no figure
    axes.set_xlabel("AUROC" if figure == "auroc" else "average precision")
    axes.set_xlim(None if figure == "auroc" else 0, 1)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1), frameon=False)


def has_published(metrics):
    """Tell whether published figures are of these films and labels: see `describe_data`."""
    return metrics.get("data", {}).get("list") == "reference"


def _draw_roc(axes, metrics, c, labels, probs, _patients):
    axes.plot([0, 1], [0, 1], ":", color=CHANCE, linewidth=1)
    if 0 < labels.sum() < len(labels):
        false, true, _ = roc_curve(labels, probs)
        kept = _thinned(false + true)
        axes.plot(false[kept], true[kept], color=OURS)
    _set_title(axes, c, figure_of(metrics, "auroc", c))
    _square(axes, 1, "1 - specificity", "sensitivity")


def _draw_precision_recall(axes, metrics, c, labels, probs, _patients):
    axes.axhline(labels.mean(), linestyle=":", color=CHANCE, linewidth=1)
    if labels.any():
        # Rising recall, and of the films the positive ones: the area under these steps is the
        # average precision.
        precision, recall = (each[::-1] for each in precision_recall_curve(labels, probs)[:2])
        found = np.flatnonzero(np.diff(recall)) + 1
        kept = np.concatenate([found[:1], found[_thinned(recall[found])]])
        recall = np.concatenate([[0], recall[kept[1:]]])
        axes.plot(recall, precision[kept], color=OURS, drawstyle="steps-pre")
    average = number_text(metrics["average_precision"][c])
    _set_title(axes, c, f"AP {average}, prevalence {labels.mean():.3g}")
    _square(axes, 1, "recall", "precision")


def _draw_reliability(axes, metrics, c, labels, probs, patients):
    predicted, observed, _ = reliability_curve(labels, probs, equal_mass)
    low, high = share_intervals(labels, equal_mass(probs), patients)
    if predicted.max() < LOG_BELOW:
        shown = observed > 0
        least = min(predicted.min(), observed[shown].min(initial=1)) / 2
        least = max(least, predicted.max() / 1e6)  # six decades are enough to see
        most = min(1, 2 * max(predicted.max(), high.max()))
        _log_square(axes, least, most, "probability", "share with finding")
        # On a logarithmic axis there is no 0: a triangle at its foot, and how much it may be.
        axes.plot(predicted[~shown], np.full((~shown).sum(), least * 1.2), "v", color=OURS, ms=3)
    else:
        shown = observed >= 0
        least, most = 0, math.ceil(10 * max(predicted.max(), high.max())) / 10
        _square(axes, most, "probability", "share with finding")
    axes.plot([least, most], [least, most], ":", color=CHANCE, linewidth=1)
    axes.vlines(predicted, np.maximum(low, least), high, color=OURS, linewidth=1)
    observed = np.where(shown, observed, np.nan)
    axes.plot(predicted, observed, "o-", color=OURS, markersize=3, linewidth=1)
    error = metrics["expected_calibration_error_equal_mass"][c]
    _set_title(axes, c, f"calibration error {number_text(error, '.4f')}")


def _draw_net_benefit(axes, metrics, c, labels, probs, _patients):
    thresholds = np.geomspace(0.01, 0.5, 60)
    fitted = metrics.get("calibration", {}).get("fitted", {}).get(CLASS_NAMES[c])
    if fitted:
        probs = calibrate(probs, fitted)
    of_probs, of_all = net_benefit(labels, probs, thresholds)
    prevalence = labels.mean()
    top = prevalence or 0.001
    axes.axhline(0, linestyle=":", color=CHANCE, linewidth=1)
    axes.plot(thresholds, of_all, "--", color=THEIRS, linewidth=1)
    axes.plot(thresholds, of_probs, color=OURS)
    # In the title, not beside the axis: small numbers need that room.
    _set_title(axes, c, f"net benefit, prevalence {prevalence:.3g}")
    axes.set(xlabel="threshold probability", xscale="log")
    axes.set(xlim=(0.01, 0.5), ylim=(-0.3 * top, 1.05 * top))
    axes.set_xticks([0.01, 0.05, 0.1, 0.5], ["0.01", "0.05", "0.1", "0.5"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks([0, top], ["0", f"{top:.2g}"])


_DRAW = {
    "roc": _draw_roc,
    "precision_recall": _draw_precision_recall,
    "reliability": _draw_reliability,
    "net_benefit": _draw_net_benefit,
}


def _set_title(axes, c, text):
    # At a given height, and three ticks below, not six: all panels are drawn in 2/3 of the time.
    axes.set_title(f"{CLASS_NAMES[c]}\n{text}", fontsize=8, y=1.0)


def _square(axes, side, x, y):
    axes.set(xlim=(0, side), ylim=(0, side * 1.02), aspect="equal", xlabel=x, ylabel=y)
    ticks = [0, side / 2, side]
    axes.set(xticks=ticks, yticks=ticks)


def _log_square(axes, least, most, x, y):
    axes.set(xscale="log", yscale="log", xlabel=x, ylabel=y)
    axes.set(xlim=(least, most), ylim=(least, most), aspect="equal")
    decades = range(math.ceil(math.log10(least)), math.floor(math.log10(most)) + 1)
    decades = decades[:: math.ceil(len(decades) / 4)]
    names = ["10" + str(n).translate(SUPERSCRIPT) for n in decades]  # short, for a small panel
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks([10.0**n for n in decades], names)
        axis.set_minor_locator(NullLocator())


def _thinned(place):
    """Return indices of at most CURVE_POINTS points, evenly apart by `place`, which rises."""
    if len(place) <= CURVE_POINTS:
        return np.arange(len(place))
    return np.unique(np.searchsorted(place, np.linspace(place[0], place[-1], CURVE_POINTS)))


def files_of(figures):
    """Return dict from name to dict from "svg" and "png" to the file's bytes."""
    return {
        name: {form: figure_bytes(figure, form) for form in ("svg", "png")}
        for name, figure in figures.items()
    }


def figure_bytes(figure, form="svg"):
    file = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return file.getvalue()
