"""report.html: one page with tables, curves and heat maps of an evaluation, and its figures."""

import base64
import datetime
import io
import os
from typing import NamedTuple

import jinja2
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from activation_maps import heat_map
from dataset import CLASS_NAMES
from files import write_whole
from localization import OVERLAPS
from metrics import PUBLISHED
from operating_points import RATES, reliability_curve

# Of the palette of Okabe and Ito, told apart by the colour-blind; shapes differ as well.
OURS, THEIRS, THEIRS_TOO, CHANCE = "#0072B2", "#D55E00", "#009E73", "#666666"
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "chexnet",  # the same figure is the same file
}
POINTS = 200  # of a curve that are drawn, at most: more cannot be seen at this size
KINDS = {
    "roc": "ROC curves",
    "precision_recall": "Precision and recall",
    "reliability": "Reliability",
}
EXAMPLES = {
    "right": "Right: of each class, the likeliest film that is labelled with it",
    "wrong": "Confidently wrong: of each class, the likeliest film that is not",
    "boxed": "Boxed: of each class, the likeliest film on which a radiologist boxed it",
}


class Example(NamedTuple):
    """A film to show, with its heat map for a class."""

    kind: str  # of `EXAMPLES`
    film: int  # index
    c: int  # index of the class
    pixels: np.ndarray  # uint8 [H, W]
    activation: np.ndarray  # float [h, w]
    boxes: list  # of (left, top, right, bottom) of the class, pixels of the film


def choose_examples(labels, probs, boxed):
    """Choose films to show: for each of `EXAMPLES`, of each class the likeliest film of that kind.

    Args:
        labels: `[N, 14]`, 0 or 1.
        probs: float `[N, 14]`.
        boxed: list of (index of a film, index of a class) that a radiologist boxed.

    Returns:
        list of (key of `EXAMPLES`, index of a film, index of a class).
    """
    has_box = np.zeros(labels.shape, bool)
    for film, c in boxed:
        has_box[film, c] = True
    of_kind = {"right": labels == 1, "wrong": labels == 0, "boxed": has_box}
    return [
        (kind, int(films[np.argmax(probs[films, c])]), c)
        for kind, candidates in of_kind.items()
        for c in range(labels.shape[1])
        if len(films := np.flatnonzero(candidates[:, c]))
    ]


def write_report(folder, metrics, names, labels, probs, examples):
    """Write report.html, which needs no other file, and figures/ with each figure as PNG and SVG.

    Args:
        folder: where.
        metrics: what is in metrics.json.
        names: N film names.
        labels: `[N, 14]`, 0 or 1.
        probs: float `[N, 14]`.
        examples: list of `Example`.
    """
    with rc_context(STYLE):
        figures = {"auroc": Figure((4.5, 5.2), layout="constrained")}
        _draw_aurocs(figures["auroc"].subplots(), metrics)
        for kind, draw in _DRAW.items():
            # Fixed margins: fitting them takes longer than all else.
            figures[kind] = Figure((10, 10))
            margins = {"left": 0.06, "right": 0.98, "bottom": 0.06, "top": 0.95}
            grid = figures[kind].subplots(
                4, 4, gridspec_kw={**margins, "wspace": 0.4, "hspace": 0.7}
            )
            for c, axes in enumerate(grid.flat):
                if c < len(CLASS_NAMES):
                    draw(axes, metrics, c, labels[:, c], probs[:, c])
                else:
                    axes.axis("off")
        for name, figure in figures.items():
            for form in ("svg", "png"):
                with write_whole(os.path.join(folder, "figures", f"{name}.{form}")) as file:
                    file.write(_bytes(figure, form))
        panels = {
            kind: [
                _address(_bytes(_panel(_DRAW[kind], metrics, c, *column)))
                for c, column in enumerate(zip(labels.T, probs.T, strict=True))
            ]
            for kind in KINDS
        }
        overview = _address(_bytes(figures["auroc"]))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = _text
    environment.filters["interval"] = _interval_text
    page = environment.get_template("report_template.html").render(
        m=metrics,
        classes=CLASS_NAMES,
        published=PUBLISHED,
        kinds=KINDS,
        example_kinds=EXAMPLES,
        panels=panels,
        overview=overview,
        examples=[_example(names, labels, probs, example) for example in examples],
        rates=RATES,
        overlaps=OVERLAPS,
        date=datetime.date.today().isoformat(),
    )
    with write_whole(os.path.join(folder, "report.html"), "w") as file:
        file.write(page)


def _example(names, labels, probs, example):
    picture = io.BytesIO()
    drawn = heat_map(example.pixels, example.activation, example.boxes)
    drawn.save(picture, "JPEG", quality=80)
    return {
        "kind": example.kind,
        "finding": CLASS_NAMES[example.c],
        "boxes": len(example.boxes),
        "picture": _address(picture.getvalue(), "image/jpeg"),
        "film": names[example.film],
        "prob": f"{probs[example.film, example.c]:.3f}",
        "labels": [CLASS_NAMES[k] for k in np.flatnonzero(labels[example.film])],
    }


def _panel(draw, *arguments):
    """Draw a panel alone."""
    figure = Figure((2.2, 2.2))
    draw(figure.add_axes((0.22, 0.2, 0.72, 0.62)), *arguments)
    return figure


def _draw_aurocs(axes, metrics):
    """AUROCs with intervals, beside two published ones."""
    y = np.arange(len(CLASS_NAMES))
    values = np.array([metrics["auroc"][name] for name in CLASS_NAMES], float)
    if "auroc_95_percent" in metrics:
        bounds = np.array([metrics["auroc_95_percent"][name] for name in CLASS_NAMES], float)
        axes.hlines(y, bounds[:, 0], bounds[:, 1], color=OURS, linewidth=2)
    # Not clipped: an AUROC of 1 is on the edge.
    axes.plot(values, y, "o", color=OURS, clip_on=False, label="this run, 95 % interval")
    for name, marker, colour in (("CheXNet", "D", THEIRS), ("Paddle-CheXNet", "s", THEIRS_TOO)):
        theirs = PUBLISHED[name][0]
        axes.plot(theirs, y, marker, color=colour, fillstyle="none", label=f"{name} (published)")
    axes.axvline(0.5, color=CHANCE, linestyle=":", linewidth=1)
    axes.set_yticks(y, CLASS_NAMES)
    axes.invert_yaxis()
    axes.set_xlabel("AUROC")
    axes.set_xlim(None, 1)
    axes.figure.legend(loc="outside upper center", frameon=False)


def _draw_roc(axes, metrics, c, labels, probs):
    name = CLASS_NAMES[c]
    axes.plot([0, 1], [0, 1], ":", color=CHANCE, linewidth=1)
    if 0 < labels.sum() < len(labels):
        false, true, _ = roc_curve(labels, probs)
        axes.plot(_thinned(false), _thinned(true), color=OURS)
    interval = metrics.get("auroc_95_percent", {}).get(name)
    axes.set_title(
        f"{name}\n{_text(metrics['auroc'][name])} {_interval_text(interval)}", fontsize=8
    )
    _square(axes, 1, "1 - specificity", "sensitivity")


def _draw_precision_recall(axes, metrics, c, labels, probs):
    axes.axhline(labels.mean(), linestyle=":", color=CHANCE, linewidth=1)
    if labels.any():
        precision, recall, _ = precision_recall_curve(labels, probs)
        axes.plot(_thinned(recall), _thinned(precision), color=OURS)
    axes.set_title(f"{CLASS_NAMES[c]}\n{int(labels.sum())} of {len(labels)} films", fontsize=8)
    _square(axes, 1, "recall", "precision")


def _draw_reliability(axes, metrics, c, labels, probs):
    predicted, observed, films = reliability_curve(labels, probs)
    side = min(1, 1.1 * max(0.1, predicted.max(), observed.max()))
    axes.plot([0, side], [0, side], ":", color=CHANCE, linewidth=1)
    axes.plot(predicted, observed, color=OURS)
    axes.scatter(predicted, observed, 4 + 60 * films / films.sum(), color=OURS)
    error = metrics["expected_calibration_error"][CLASS_NAMES[c]]
    axes.set_title(f"{CLASS_NAMES[c]}\ncalibration error {_text(error)}", fontsize=8)
    _square(axes, side, "probability", "share with finding")


_DRAW = {
    "roc": _draw_roc,
    "precision_recall": _draw_precision_recall,
    "reliability": _draw_reliability,
}


def _square(axes, side, x, y):
    axes.set(xlim=(0, side), ylim=(0, side * 1.02), aspect="equal", xlabel=x, ylabel=y)


def _thinned(values):
    """Return at most POINTS of a curve's values, its ends among them."""
    if len(values) <= POINTS:
        return values
    return values[np.linspace(0, len(values) - 1, POINTS).round().astype(int)]


def _bytes(figure, form="svg"):
    file = io.BytesIO()
    metadata = {"Date": None} if form == "svg" else None
    figure.savefig(file, format=form, dpi=150, metadata=metadata)
    return file.getvalue()


def _address(content, kind="image/svg+xml"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _text(value, digits=3):
    return "nan" if value is None else f"{value:.{digits}f}"


def _interval_text(interval, digits=3):
    if interval is None:
        return ""
    low, high = (_text(bound, digits) for bound in interval)
    return f"({low} to {high})"
