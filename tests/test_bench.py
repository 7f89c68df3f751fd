"""The table that whoever has a card fills in, on the stand-in accelerator."""

import re

import pytest

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
