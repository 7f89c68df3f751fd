"""The notebook demo/worked_example.ipynb, run whole on fewer films than a reader takes."""

import json
import re

import pytest
from helpers.places import ROOT

NOTEBOOK = ROOT / "demo" / "worked_example.ipynb"


def outputs_of(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def test_the_notebook_is_small_and_has_no_path_of_a_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    outputs = outputs_of(json.loads(text))
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert kinds == {"image/jpeg", "text/plain"} and len(text) < 100_000
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert not re.search(r"/(home|root|tmp|work|Users)/", text)


@pytest.mark.slow
@pytest.mark.rare
def test_the_notebook_runs(tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for line, ours in (
        ("FILMS = 240  # to train on", "FILMS = 24"),
        ("EPOCHS = 4", "EPOCHS = 1"),
        ('FOLDER = "demo/worked_example"', f"FOLDER = {str(tmp_path)!r}"),
    ):
        assert line in first.source
        first.source = first.source.replace(line, ours)
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}  # as Jupyter starts it
    nbclient.NotebookClient(notebook, timeout=600, resources=folder).execute()
    outputs = outputs_of(notebook)
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) == 2
    assert "largest difference from eval.py: " in outputs[-1]["text"]
    assert (tmp_path / "result" / "metrics.json").exists()
