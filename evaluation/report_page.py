"""report.html: one page with tables, curves and heat maps of an evaluation."""

import base64
import datetime
import io
import os

import jinja2
import numpy as np

from evaluation.heat_maps import EXAMPLES, rank
from evaluation.localization import OVERLAPS
from evaluation.operating_points import RATES, without_threshold
from evaluation.printed_tables import CALIBRATION_FIGURES, FEW_WORDS, few_patients
from evaluation.report_plots import (
    KINDS,
    draw_figures,
    draw_panels,
    has_published,
    interval_text,
    number_text,
)
from evaluation.subgroup_plots import draw_group_figures, draw_group_panels
from evaluation.subgroup_rates import ENOUGH, MISSED, largest_gaps
from films.label_lists import CLASS_NAMES
from inference.activation_maps import heat_map
from metrics import PUBLISHED
from runtime.files import write_whole


def write_report(folder, metrics, listed, probs, examples, why_none=None):
    """Write report.html, which needs no other file, and figures/ with each figure as PNG and SVG.

    Args:
        folder: where.
        metrics: what is in metrics.json.
        listed: N films, a `dataset.LabelList`.
        probs: float `[N, 14]`.
        examples: list of `heat_maps.Example`.
        why_none: why there are no examples, if there are none.
    """
    names, labels, patients = listed
    figures = draw_figures(metrics, labels, probs, patients)
    group_panels = {}
    if "subgroup_gaps" in metrics:
        figures |= draw_group_figures(metrics)
        group_panels = draw_group_panels(metrics)
    for name, forms in figures.items():
        for form, content in forms.items():
            with write_whole(os.path.join(folder, "figures", f"{name}.{form}")) as file:
                file.write(content)
    panels = draw_panels(metrics, labels, probs, patients)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["number"] = number_text
    environment.filters["interval"] = interval_text
    environment.filters["mean"] = _mean_defined
    page = environment.get_template("report_page.html").render(
        m=metrics,
        classes=CLASS_NAMES,
        data=metrics.get("data", {"list": None, "source": None}),
        published=published_columns() if has_published(metrics) else None,
        kinds=KINDS,
        example_kinds=EXAMPLES,
        panels={kind: list(map(_address, files)) for kind, files in panels.items()},
        group_panels={
            kind: {rate: _address(panel) for rate, panel in of_kind.items()}
            for kind, of_kind in group_panels.items()
        },
        missed=_address(figures[MISSED]["svg"]) if group_panels else None,
        missed_key=MISSED,
        no_threshold=without_threshold(metrics),
        enough=ENOUGH,
        few=few_patients(metrics),
        few_words=FEW_WORDS,
        group_gaps=largest_gaps(metrics.get("subgroup_gaps", {})),
        dots={name: _address(figures[name]["svg"]) for name in ("auroc", "average_precision")},
        examples=[_example(names, labels, probs, example) for example in examples],
        some_unknown=any(count < metrics["images"] for count in metrics["labelled"].values()),
        why_none=why_none,
        calibration_figures=CALIBRATION_FIGURES,
        calibration_means=_calibration_means(metrics.get("calibration")),
        rates=RATES,
        overlaps=OVERLAPS,
        date=datetime.date.today().isoformat(),
    )
    with write_whole(os.path.join(folder, "report.html"), "w") as file:
        file.write(page)


def published_columns():
    """Return dict from name to 14 published AUROCs and their mean, where none was given our own."""
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
