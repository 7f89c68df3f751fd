"""The benchmarks run: the table of a card on the stand-in accelerator, training beside PyTorch."""

import csv
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

pytestmark = pytest.mark.slow


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
