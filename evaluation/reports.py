"""report.html and model_card.md: what people read of an evaluation, from the two templates here."""

import base64
import datetime
import io
import os
import re

import jinja2
import markupsafe
import numpy as np

from evaluation.heat_maps import EXAMPLE_KINDS, rank
from evaluation.localization import OVERLAPS
from evaluation.thresholds import LEAST_POSITIVES, MISSED, RATES, largest_gaps
from evaluation.written_figures import (
    CALIBRATION_FIGURES,
    few_patients,
    few_words,
    figure_text,
    for_json,
    missed_text,
    number_text,
)
from films.label_lists import CLASS_NAMES
from inference.activation_maps import heat_map
from metrics import PUBLISHED
from runtime.files import write_whole


def write_report(folder, figures, listed, probs, examples, why_none=None):
    """Write report.html, which needs no other file, and figures/ with each drawing as PNG and SVG.

    Args:
        folder: where.
        figures: dict of all that was measured, and of what metrics.json says beside it.
        listed: N films, a `LabelList`.
        probs: float `[N, C]`.
        examples: list of `heat_maps.Example`.
        why_none: why there are no examples, if there are none.
    """
    from evaluation import report_plots, subgroup_plots  # here: what draws takes a second to load

    names, labels, patients = listed
    drawings = report_plots.draw_figures(figures, labels, probs, patients)
    group_panels = {}
    if "subgroup_gaps" in figures:
        drawings |= subgroup_plots.draw_group_figures(figures)
        group_panels = subgroup_plots.draw_group_panels(figures)
    for name, forms in drawings.items():
        for form, content in forms.items():
            with write_whole(os.path.join(folder, "figures", f"{name}.{form}")) as file:
                file.write(content)
    metrics = for_json(figures)
    page = _template("report_page.html.jinja").render(
        **_shared(metrics),
        figure=_page_figure,
        cell=_cell,
        count=_count,
        data=metrics.get("data", {"list": None, "source": None}),
        published=published_columns() if report_plots.has_published(metrics) else None,
        kinds=report_plots.CURVES,
        example_kinds=EXAMPLE_KINDS,
        panels=report_plots.draw_panels(figures, labels, probs, patients),
        group_panels=group_panels,
        without_panels=[kind for kind in metrics.get("subgroups", {}) if kind not in group_panels],
        missed=MISSED,
        drawings=drawings,
        examples=[_example(names, labels, probs, example) for example in examples],
        some_unknown=any(count < metrics["images"] for count in metrics["labelled"].values()),
        why_none=why_none,
        calibration_means=_calibration_means(metrics.get("calibration")),
        overlaps=OVERLAPS,
    )
    with write_whole(os.path.join(folder, "report.html"), "w") as file:
        file.write(page)


def write_model_card(folder, figures):
    """Write model_card.md of an evaluation; what a program cannot know has a mark in it.

    It tells what is known of a network and its evaluation, after M. Mitchell et al. 2019.

    Args:
        folder: where.
        figures: as for `write_report`.
    """
    metrics = for_json(figures)
    card = _template("model_card.md.jinja").render(
        **_shared(metrics),
        figure=_card_figure,
        missed=lambda of_group: _line(missed_text(of_group)),
        rare=[name for name, n in metrics["positives"].items() if 0 < n < LEAST_POSITIVES],
        fill="*to be filled in by whoever trained it*",
    )
    with write_whole(os.path.join(folder, "model_card.md"), "w") as file:
        file.write(card)


def _template(name):
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=name.endswith(".html.jinja"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"mean": _mean_defined, "plain": _plain, "code": _code}
    environment.filters |= {"films": _films, "address": _address}
    return environment.get_template(name)


def _shared(metrics):
    """Return what both templates say."""
    thresholds = metrics.get("thresholds", {}).get("threshold", {})
    return {
        "m": metrics,
        "classes": [name for name in CLASS_NAMES if metrics["labelled"][name]],
        "all_classes": CLASS_NAMES,
        "rates": RATES,
        "calibration_figures": CALIBRATION_FIGURES,
        "no_threshold": [name for name, value in thresholds.items() if value is None],
        "gaps": largest_gaps(metrics.get("subgroup_gaps", {})),
        "enough": LEAST_POSITIVES,
        "few": few_patients(metrics["positive_patients"].values()),
        "few_words": few_words(metrics["positive_patients"].values()),
        "date": datetime.date.today().isoformat(),
    }


def _page_figure(value, interval=None, digits=3):
    return figure_text(value, interval, f".{digits}f")


def _count(number):
    """Return a cell of a table with a number of films or the like."""
    columns = f' data-columns="{number}"' if number >= 1000 else ""
    return markupsafe.Markup(f"<td{columns}>{number:,}</td>")


def _cell(value, interval=None, digits=3, sign=""):
    """Return a cell of a table; of a figure with an interval "Save as CSV" makes three columns."""
    form = f"{sign}.{digits}f"
    columns = " ".join(number_text(number, form) for number in (value, *(interval or ())))
    text = figure_text(value, interval, form)
    attribute = f' data-columns="{columns}"' if interval else ""
    return markupsafe.Markup(f"<td{attribute}>{text}</td>")  # numbers: nothing to escape


def _card_figure(value, interval=None, digits=3):
    """Return a figure as text; of what is not defined, nan only."""
    return figure_text(value, None if value is None else interval, f".{digits}f")


def published_columns():
    """Return dict from name to 14 published AUROCs and their mean, ours where none was given."""
    return {
        name: [*aurocs, np.mean(aurocs) if mean is None else mean]
        for name, (aurocs, mean) in PUBLISHED.items()
    }


def _example(names, labels, probs, example):
    film, c = example.film, example.c
    prob, picture = probs[film, c], io.BytesIO()
    drawn = heat_map(example.pixels, example.activation, CLASS_NAMES[c], prob, example.boxes)
    drawn.save(picture, "JPEG", quality=80)
    return {
        "kind": example.kind,
        "finding": CLASS_NAMES[c],
        "boxes": len(example.boxes),
        "picture": _address(picture.getvalue(), "image/jpeg"),
        "film": names[film],
        "prob": f"{prob:.3f}",
        "rank": rank(probs, film, c),
        "labels": [CLASS_NAMES[k] for k in np.flatnonzero(labels[film] == 1)],
        "unknown": int(np.isnan(labels[film]).sum()),
    }


def _calibration_means(figures):
    """Return the means of the two errors before and after, over classes that were calibrated."""
    fitted = [name for name in CLASS_NAMES if figures and figures["fitted"][name]]
    return {
        key: {
            kind: _mean_defined([figures[kind][key][name] for name in fitted])
            for kind in ("before", "after")
        }
        for key in ("brier", "expected_calibration_error_equal_mass")
        if fitted
    }


def _mean_defined(values):
    """Return the mean of those figures that are not None, or None."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def _address(content, kind="image/svg+xml"):
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _films(count):
    """Return films and patients as text."""
    parts = ((count[f"{name}s"], name) for name in ("film", "patient"))
    return " of ".join(f"{n:,} {name}{'' if n == 1 else 's'}" for n, name in parts)


def _plain(text):
    """Return text of others as a line of Markdown that means nothing but itself."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", _line(text))


def _code(text):
    """Return a name of others between more backquotes than it has."""
    text = _line(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if "`" in text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _line(text):
    return " ".join(str(text).split())
