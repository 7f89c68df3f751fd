"""Figures as JSON and as text."""

import json

import numpy as np

from evaluation import written_figures
from evaluation.figures import measure
from evaluation.reports import _cell
from evaluation.written_figures import figure_text, for_json, number_text
from films.label_lists import CLASS_NAMES


def test_arrays_become_what_metrics_json_has():
    values = np.arange(14.0)
    values[13] = np.nan
    bounds = np.stack([values - 1, values + 1], axis=1)
    figures = {"a": values, "a_95_percent": bounds, "n": np.arange(14), "of": [{"mean": np.nan}]}
    written = for_json(figures | {"mean": np.float64(0.1), "pair": np.array([np.nan, 1.0])})
    assert written["a"] == {
        **{name: float(c) for c, name in enumerate(CLASS_NAMES)},
        "Hernia": None,
    }
    assert written["a_95_percent"]["Mass"] == [3, 5]
    assert written["a_95_percent"]["Hernia"] == [None, None]
    assert written["n"]["Hernia"] == 13 and isinstance(written["n"]["Hernia"], int)
    assert (written["of"], written["mean"], written["pair"]) == ([{"mean": None}], 0.1, [None, 1])
    assert json.loads(json.dumps(written, allow_nan=False)) == written == for_json(written)


def test_a_figure_as_text():
    assert figure_text(0.84123) == "0.841"
    assert figure_text(0.84123, (0.8, 0.86), ".4f") == "0.8412 (0.8000 to 0.8600)"
    assert figure_text(0.84123, [None, None]) == "0.841 (no interval)"
    assert figure_text(0.84123, np.full(2, np.nan), "+.3f") == "+0.841 (no interval)"
    assert number_text(None) == number_text(np.nan) == "nan" and number_text(0.1, "") == "0.1"


def test_a_cell_names_the_columns_that_it_is_saved_as():
    assert (
        _cell(0.84123, [0.8, 0.86], 2)
        == '<td data-columns="0.84 0.80 0.86">0.84 (0.80 to 0.86)</td>'
    )
    assert (
        _cell(0.84123, [None, None]) == '<td data-columns="0.841 nan nan">0.841 (no interval)</td>'
    )
    assert _cell(None) == "<td>nan</td>"


def test_intervals_of_two_classes_are_no_interval_of_one(monkeypatch):
    monkeypatch.setattr(written_figures, "CLASS_NAMES", ("A", "B"))
    bounds = np.array([[0.1, 0.2], [0.3, np.nan]])
    assert for_json({"auroc": bounds[:, 0], "auroc_95_percent": bounds, "mean": [0.2, 0.4]}) == {
        "auroc": {"A": 0.1, "B": 0.3},
        "auroc_95_percent": {"A": [0.1, 0.2], "B": [0.3, None]},
        "mean": [0.2, 0.4],
    }
    labels, probs = np.array([[0, 1], [1, 0], [1, 1], [0, 0]]), np.arange(8).reshape(4, 2) / 8
    found = measure(labels, probs, ["a", "b", "c", "d"])
    assert isinstance(found["auroc_mean_95_percent"], list)
