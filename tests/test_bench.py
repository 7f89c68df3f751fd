"""The benchmarks run: a card's table, training beside PyTorch, the rehearsal at a small scale."""

import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from helpers.places import ROOT
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.mark.rare
def test_the_evaluation_that_is_timed_runs(shared):
    code = "import ours; ours.FILMS = ours.FILMS[:2]; task = ours.evaluation('fp32'); "
    code += "next(task); next(task, None)"  # it starts the clock, and ends
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "benchmarks")))
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=os.environ | {"PYTHONPATH": paths}, capture_output=True)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.rare
def test_the_table_of_a_device_has_train_and_eval_in_every_precision(on_device):
    words = ["--batch-size", 2, "--steps", 3, "--resize", 72, "--crop-size", 64]
    result = on_device("benchmarks/device.py", "--device", "standin", *words)
    assert result.returncode == 0, result.stderr
    first, _, header, _, *rows = result.stdout.splitlines()
    assert first.startswith("On standin:0, Paddle 3") and "batch 2, crops of 64" in first
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [row[0] for row in cells] == [
        *(f"train.py, --amp {level}" for level in ("off", "O1", "O2")),
        *(f"eval.py, ten crops, --precision {kind}" for kind in ("fp32", "fp16", "bf16")),
    ]
    assert header.count("|") == 5
    for what, rate, waited, memory in cells[:5]:
        assert float(rate) > 0 and re.fullmatch(r"\d+\.\d%", waited), what
        assert re.fullmatch(r"[1-9]\d* MiB", memory), what
    # auto_cast takes bfloat16 on few devices; float32 recorded as bfloat16 would be a lie.
    assert cells[5][1:] == [
        "--precision bf16: Paddle does not cast to bfloat16 on standin:0; "
        "compute in float32, or use another device",
        "",
        "",
    ]


@pytest.mark.rare
def test_training_in_float64_is_pytorch_s(phantoms, tmp_path):
    """In float32 rounding parts them within some steps, as it parts PyTorch from itself."""
    command = [sys.executable, ROOT / "benchmarks" / "training_parity.py", "--data-dir", phantoms]
    command += ["--resize", 72, "--crop-size", 64, "--batch-size", 6, "--num-workers", 0]
    command += ["--epochs", 2, "--decay-epochs", 1, "--dtype", "float64", "--output-dir", tmp_path]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "losses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    paddle, torch = (np.array([float(row[name]) for row in rows]) for name in ("paddle", "pytorch"))
    assert len(rows) == 8 and np.abs(paddle[0] - paddle[-1]) > 0.01  # it has learnt
    difference = np.abs(paddle - torch).max()
    print(f"largest difference of a loss over {len(rows)} steps: {difference:.1e}")
    assert difference <= 1e-8
    assert f"paddle and pytorch: {difference:.1e} over steps 1 to 8" in result.stdout
    assert (tmp_path / "losses.png").stat().st_size and (tmp_path / "losses.svg").stat().st_size


@pytest.mark.rare
def test_a_rehearsal_runs_every_command_and_replaces_its_section_alone(script, phantoms, tmp_path):
    films, labels, output = (tmp_path / name for name in ("films", "labels", "results.md"))
    films.mkdir()
    labels.mkdir()
    for film in sorted((phantoms / "images").iterdir())[:3]:
        Image.open(film).resize((64, 64)).save(films / film.name)
    flags = np.random.default_rng(0).integers(0, 2, (100, 14))
    lines = [f"{n:08d}_000.png {' '.join(map(str, row))}" for n, row in enumerate(flags)]
    parts = {"train": lines[:48], "val": lines[48:60], "test": lines[60:]}
    for part, listed in parts.items():
        (labels / f"{part}_list.txt").write_text("\n".join(listed))
    output.write_text("# Results of `make rehearse`\n\nold\n\n# Results of `make bench`\n\nkept\n")
    words = ["--films", films, "--labels", labels, "--output", output]
    words += ["--batch-size", 8, "--resize", 72, "--crop-size", 64]
    result = script("benchmarks/rehearse.py", *words, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert result.returncode == 0, result.stderr
    ours, theirs = output.read_text().split("# Results of `make bench`")
    assert theirs == "\n\nkept\n" and "old" not in ours
    assert "100 names of 3 films of 64 x 64 pixels." in ours
    rows = [line.strip("| ").split(" | ") for line in ours.splitlines() if line.startswith("| `")]
    # Which batch is the first that is told depends on the machine's speed.
    assert [re.sub(r"\d/5$", "5/5", row[0]) for row in rows] == [
        "`prepare_data.py check`, 100 films",
        "`prepare_data.py cache`, 100 films",
        "`train.py`, to step 1/6",
        "`eval.py`, to batch 5/5",
        "`eval.py --predictions`, intervals and page",
    ]
    for what, took, processor, everything, anonymous, _ in rows:
        times = [float(cell.removesuffix(" s")) for cell in (took, processor)]
        assert min(times) > 0.5, what  # to import Paddle takes more
        sizes = [int(cell.removesuffix(" MiB")) for cell in (anonymous, everything)]
        assert 20 < sizes[0] <= sizes[1], what  # NumPy alone takes more
    assert sorted(os.listdir(tmp_path)) == ["films", "labels", "results.md"]


def test_a_rehearsal_without_films_is_an_error(fails, tmp_path):
    error = fails("benchmarks/rehearse.py", "--films", tmp_path, "--labels", tmp_path)
    assert error.startswith(f"error: {tmp_path}: no PNG films in it")
