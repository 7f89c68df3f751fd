"""Dot plots of the report page: rates of groups of films at one threshold a class."""

import matplotlib
import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from evaluation.report_plots import CHANCE, OURS, STYLE, THEIRS, figure_bytes, files_of
from evaluation.thresholds import GROUP_RATES, LEAST_POSITIVES, MISSED, UNKNOWN
from films.label_lists import CLASS_NAMES
from public_data.nih_tables import SEX_AND_AGE

PANEL_WIDTH = 3.8  # of a panel, inches


def draw_group_figures(metrics):
    """Draw a figure of each kind of group, all rates side by side, and one of who is missed.

    Args:
        metrics: what `figures.measure_subgroups` and `figures.measure_thresholds` returned.

    Returns:
        dict from name to dict from "svg" and "png" to the file's bytes.
    """
    with rc_context(STYLE):
        figures = {MISSED: _missed(metrics)}
        for kind, groups in metrics["subgroups"].items():
            figure = Figure((PANEL_WIDTH * len(GROUP_RATES), _height(groups)))
            panels = figure.subplots(1, len(GROUP_RATES))
            figure.subplots_adjust(0.1, 0.55 / _height(groups), 0.98, _top(groups), wspace=0.5)
            for axes, rate in zip(panels, GROUP_RATES, strict=True):
                _draw_rate(axes, metrics, kind, rate)
            figures[f"subgroups_{kind.replace(' ', '_')}"] = figure
        return files_of(figures)


def draw_group_panels(metrics):
    """Draw a panel of each kind of group and rate: dict from kind to dict from rate to SVG.

    A panel without a dot is left out, and a kind without a panel.
    """
    panels = {}
    with rc_context(STYLE):
        for kind, groups in metrics["subgroups"].items():
            for rate in GROUP_RATES:
                if not np.isnan([figures[rate] for figures in groups.values()]).all():
                    panels.setdefault(kind, {})[rate] = figure_bytes(_panel(metrics, kind, rate))
    return panels


def _panel(metrics, kind, rate):
    groups = metrics["subgroups"][kind]
    figure = Figure((PANEL_WIDTH, _height(groups)))
    bottom, top = 0.55 / _height(groups), _top(groups)
    _draw_rate(figure.add_axes((0.32, bottom, 0.64, top - bottom)), metrics, kind, rate)
    return figure


def _height(groups):
    return max(4, 2.9 + 0.3 * len(groups))


def _top(groups):
    """Where the axes end, for the legend to have room above."""
    return 1 - (0.2 + 0.16 * -(-len(groups) // 2)) / _height(groups)


def _draw_rate(axes, metrics, kind, rate):
    """A row a class, a dot a group; a short black line for all films together."""
    groups = metrics["subgroups"][kind]
    rows = np.arange(len(CLASS_NAMES))
    axes.hlines(rows[:-1] + 0.5, 0, 1, color="#eeeeee", linewidth=0.5, zorder=0)
    of_all = metrics["thresholds"][rate]
    axes.vlines(of_all, rows - 0.4, rows + 0.4, color="black", linewidth=1, zorder=0)
    step = min(0.26, 0.66 / max(len(groups) - 1, 1))
    shifts = step * (np.arange(len(groups)) - (len(groups) - 1) / 2)
    looks = _looks(kind, list(groups))
    drawn = [of_all]
    for (name, figures), shift, look in zip(groups.items(), shifts, looks, strict=True):
        drawn += _draw_group(axes, name, figures, rate, rows + shift, *look)
    without_dot = np.isnan([figures[rate] for figures in groups.values()]).all(axis=0)
    for c in np.flatnonzero(without_dot):
        few = f"under {LEAST_POSITIVES} positives in each"
        _write_in_row(axes, c, "no threshold or call" if np.isnan(of_all[c]) else few, fontsize=6)
    ends = np.concatenate(drawn)
    ends = ends[~np.isnan(ends)]
    axes.set_xlim(max(0, ends.min(initial=1) - 0.02), min(1, ends.max(initial=0) + 0.02))
    axes.set_yticks(rows, CLASS_NAMES)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(rate)
    spacing = {"handletextpad": 0.1, "columnspacing": 1, "fontsize": 7}
    axes.legend(loc="lower left", bbox_to_anchor=(-0.45, 1), ncols=2, frameon=False, **spacing)


def _draw_group(axes, name, figures, rate, y, colour, marker):
    """Draw a rate of a group at heights y, `[C]`; return what was drawn, arrays of `[C]`."""
    there = len(CLASS_NAMES) - len(figures["too_few_positives"])
    label = name if there == len(CLASS_NAMES) else f"{name} ({there} of {len(CLASS_NAMES)} classes)"
    drawn = [figures[rate]]
    if f"{rate}_95_percent" in figures:
        low, high = figures[f"{rate}_95_percent"].T
        axes.hlines(y, low, high, color=colour, linewidth=1, alpha=0.5)
        drawn += [low, high]
    axes.plot(figures[rate], y, marker, color=colour, ms=3.5, label=label, clip_on=False)
    return drawn


def _write_in_row(axes, y, text, fontsize):
    """Write why a row has no dot."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    place = {"transform": axes.get_yaxis_transform(), "va": "center"}
    axes.text(0.02, y, text, bbox=ground, fontsize=fontsize, **place)


def _looks(kind, groups):
    """Return a colour and a marker for each group: ages from dark to light, a marker a sex."""
    if kind in ("sex", "view"):
        looks = dict(zip(groups, [(THEIRS, "o"), (OURS, "s"), ("black", "^")], strict=False))
    else:
        ages = sorted({group.split()[-1] for group in groups if group != UNKNOWN})
        scale = matplotlib.colormaps["plasma"](np.linspace(0, 0.85, max(len(ages), 1)))
        looks = {
            group: (scale[ages.index(group.split()[-1])], "s" if group[0] == "M" else "o")
            for group in groups
            if group != UNKNOWN
        }
    return [(CHANCE, "x") if group == UNKNOWN else looks[group] for group in groups]


def _missed(metrics):
    """A row a group: the share that is called healthy though ill, with its interval."""
    of_groups = metrics["subgroups"]
    rows = [(kind, group) for kind, groups in of_groups.items() for group in groups]
    figure = Figure((5.2, 1 + 0.2 * len(rows)), layout="constrained")
    axes = figure.subplots()
    kinds = list(of_groups)
    ticks = []
    for kind, group in rows:
        y = len(ticks) + 0.6 * kinds.index(kind)  # a gap between kinds
        ticks.append(y)
        found = of_groups[kind][group]
        if np.isnan(found[MISSED]):
            reason = f"with a finding: {found['ill']} of its films, fewer than {LEAST_POSITIVES}"
            _write_in_row(axes, y, reason, fontsize=7)
            continue
        if f"{MISSED}_95_percent" in found:
            axes.hlines(y, *found[f"{MISSED}_95_percent"], color=OURS, linewidth=1.5)
        axes.plot(found[MISSED], y, "o", color=OURS, clip_on=False)
    if not np.isnan(metrics["thresholds"][MISSED]):
        axes.axvline(metrics["thresholds"][MISSED], color="black", linewidth=1, label="all films")
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.set_yticks(
        ticks, [group if kind == SEX_AND_AGE else f"{kind} {group}" for kind, group in rows]
    )
    axes.set_ylim(ticks[-1] + 0.6, -0.6)
    axes.set_xlim(0, None)
    axes.set_xlabel("called healthy though ill: share of the films with a finding")
    return figure
