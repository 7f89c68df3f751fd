"""Pictures of a run: losses, AUROCs and learning rate by epoch."""

import os
import time

import numpy as np
import paddle

from films.label_lists import CLASS_NAMES
from runtime.devices import is_first_rank
from runtime.files import write_whole

# Of the palette of Okabe and Ito, told apart by the colour-blind.
TRAIN, VALIDATION, GREY = "#E69F00", "#0072B2", "#666666"
# A drawing takes a second or two: as long as an epoch of a few films.
SECONDS_BETWEEN = 60
MONITORS = {"AUROC_avg": "mean AUROC", "loss": "validation loss"}
STYLE = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "chexnet",  # the same figure is the same file
}


class Curves(paddle.callbacks.Callback):
    """Draws curves.png and curves.svg after an epoch, if a minute has passed since it last did.

    Comes after `BestModel`. train.py draws them at the end.

    Args:
        run: the `Run`.
        folder: where they go.
        monitor: what decides which epoch is best, as for `BestModel`.
    """

    def __init__(self, run, folder, monitor="AUROC_avg"):
        super().__init__()
        self.run, self.folder, self.monitor = run, folder, monitor
        self.drawn = time.monotonic()

    def on_eval_end(self, logs=None):
        if is_first_rank() and time.monotonic() - self.drawn >= SECONDS_BETWEEN:
            draw_curves(self.run.history, self.folder, self.monitor)
            self.drawn = time.monotonic()


def best_epoch(history, monitor="AUROC_avg"):
    """Return the epoch of the best validation figure, the first of equals; None if all are NaN."""
    values = np.array([row[f"val_{monitor}"] for row in history], float)
    if np.isnan(values).all():
        return None
    values = values if monitor == "loss" else -values
    return history[int(np.nanargmin(values))]["epoch"]


def draw_curves(history, folder, monitor="AUROC_avg"):
    """Write curves.png and curves.svg, each whole.

    Args:
        history: list of dicts, one an epoch: the rows of metrics.csv.
        folder: where they go.
        monitor: what decides which epoch is best, as for `BestModel`.
    """
    from matplotlib import rc_context  # not at the top: it takes half a second
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        columns = min(len(CLASS_NAMES), 7)
        rows = -(-len(CLASS_NAMES) // columns)
        height = 5.6 + 1.2 * max(rows - 2, 0)  # inches
        figure = Figure((10, height))
        share = 5.6 / height  # of what two rows of panels leave for the rest
        top = figure.add_gridspec(
            1, 3, left=0.06, right=0.99, bottom=1 - 0.36 * share, top=1 - 0.1 * share, wspace=0.25
        )
        low = figure.add_gridspec(
            *(rows, columns),
            **{"left": 0.06, "right": 0.99, "bottom": 0.08 * share, "top": 1 - 0.5 * share},
            **{"wspace": 0.12, "hspace": 0.45},
        )
        losses, mean, rate = (figure.add_subplot(cell) for cell in top)
        panels = low.subplots(sharex=True, sharey=True, squeeze=False).ravel()
        for panel in panels[len(CLASS_NAMES) :]:
            panel.remove()
        panels = panels[: len(CLASS_NAMES)]
        _draw(losses, mean, rate, panels, history, best_epoch(history, monitor))
        figure.suptitle(
            f"Dotted: the best epoch by {MONITORS[monitor]}. Grey: an AUROC of 0.5, as by chance.",
            x=0.06,
            ha="left",
            fontsize=8,
        )
        for kind, words in (("png", {"dpi": 150}), ("svg", {"metadata": {"Date": None}})):
            with write_whole(os.path.join(folder, f"curves.{kind}")) as file:
                figure.savefig(file, format=kind, **words)


def _draw(losses, mean, rate, panels, history, best):
    """Fill the axes of a figure."""
    epochs = [row["epoch"] for row in history]

    def line(axes, name, colour, **words):
        axes.plot(epochs, [row[name] for row in history], "o-", ms=2, lw=1, c=colour, **words)

    line(losses, "train_loss", TRAIN, label="training")
    line(losses, "val_loss", VALIDATION, label="validation")
    losses.legend(frameon=False)
    losses.set_title("Loss")
    line(mean, "val_AUROC_avg", VALIDATION)
    mean.axhline(0.5, c=GREY, lw=0.5)
    mean.set_title("Mean validation AUROC")
    if best is not None:
        value = next(row["val_AUROC_avg"] for row in history if row["epoch"] == best)
        mean.set_title(f"Mean validation AUROC: {value:.4f} at epoch {best}")
    line(rate, "learning_rate", VALIDATION)
    rate.set_yscale("log")
    rate.margins(y=0.2)
    rate.set_title("Learning rate")
    for axes, name in zip(panels, CLASS_NAMES, strict=True):
        line(axes, f"val_AUROC_{name}", VALIDATION)
        axes.axhline(0.5, c=GREY, lw=0.5)
        axes.set_title(name.replace("_", " "))
        if np.isnan([row[f"val_AUROC_{name}"] for row in history]).all():
            axes.text(0.5, 0.6, "undefined", ha="center", c=GREY, transform=axes.transAxes)
    for axes in (losses, mean, rate, *panels):
        axes.set_xlim(0.5, max(len(epochs), 2) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if best is not None:
            axes.axvline(best, c=GREY, lw=1, ls=":")
    for axes in (losses, mean, rate, *panels[-7:]):
        axes.set_xlabel("epoch")
