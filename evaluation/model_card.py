"""model_card.md: what is known of a network and its evaluation, after Mitchell et al. 2019."""

import datetime
import os
import re

import jinja2

from evaluation.operating_points import RATES, without_threshold
from evaluation.printed_tables import (
    CALIBRATION_FIGURES,
    FEW_WORDS,
    between,
    few_patients,
    missed_text,
    shown,
)
from evaluation.subgroup_rates import ENOUGH, largest_gaps
from films.label_lists import CLASS_NAMES
from runtime.files import write_whole


def write_model_card(folder, metrics):
    """Write model_card.md of an evaluation; what a program cannot know has a mark in it.

    Args:
        folder: where.
        metrics: what is in metrics.json.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"plain": _plain, "code": _code, "films": _films}
    card = environment.get_template("model_card.md").render(
        m=metrics,
        classes=CLASS_NAMES,
        figure=_figure,
        rates=RATES,
        calibration_figures=CALIBRATION_FIGURES,
        missed=_missed,
        no_threshold=without_threshold(metrics),
        gaps=largest_gaps(metrics.get("subgroup_gaps", {})),
        enough=ENOUGH,
        few=few_patients(metrics),
        few_words=FEW_WORDS,
        rare=[name for name, count in metrics["positives"].items() if 0 < count < ENOUGH],
        fill="*to be filled in by whoever trained it*",
        date=datetime.date.today().isoformat(),
    )
    with write_whole(os.path.join(folder, "model_card.md"), "w") as file:
        file.write(card)


def _figure(value, interval=None, digits=3):
    """Return a number and its interval as text; of what is not defined, nan alone."""
    form = f".{digits}f"
    interval = None if value is None else interval
    return _line(shown(value, form) + between(interval, form))


def _missed(figures):
    return _line(missed_text(figures))


def _films(count):
    """Return films and patients as text."""
    return f"{count['films']:,} films of {count['patients']:,} patients"


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
