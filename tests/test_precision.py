"""Precision is what it says: decided from the compute capability, before Paddle is loaded."""

import os
import subprocess
import sys

import paddle
import pytest
from helpers.places import ROOT

from runtime.files import UserError
from runtime.precision import check_precision, float32_kind, lacking


# Compute capabilities: P100 6.0, GTX 1080 6.1, V100 7.0, T4 7.5, A100 8.0, RTX 4090 8.9, H100 9.0.
@pytest.mark.parametrize(
    ("kind", "capability", "reason"),
    [
        ("float16", (6, 1), "needs compute capability 7.0, this GPU has 6.1"),
        ("float16", (7, 0), ""),
        ("bfloat16", (7, 5), "needs compute capability 8.0, this GPU has 7.5"),
        ("bfloat16", (8, 0), ""),
        ("bfloat16", (12, 0), ""),
        ("tf32", (7, 5), "needs compute capability 8.0, this GPU has 7.5"),
        ("tf32", (8, 9), ""),
        ("tf32", None, "needs an NVIDIA GPU of compute capability 8.0"),
        ("float16", None, ""),  # an XPU, say: trying it tells
    ],
)
def test_a_card_without_a_precision_is_told_by_its_compute_capability(kind, capability, reason):
    assert lacking(kind, capability) == reason


@pytest.mark.parametrize(
    ("capability", "override", "kind"),
    [
        ((8, 0), "0", "fp32"),
        ((8, 0), None, "tf32"),  # what NVIDIA's libraries do by themselves
        ((9, 0), "1", "tf32"),
        ((7, 5), None, "fp32"),
        (None, None, "fp32"),
    ],
)
def test_what_is_recorded_is_what_float32_was_computed_in(capability, override, kind):
    assert float32_kind(capability, override) == kind


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_device_on_which_paddle_does_not_cast_is_an_error_and_not_float32(kind):
    # A CPU is such a device: auto_cast has no effect there, and Paddle warns so.
    paddle.set_device("cpu")
    with pytest.warns(UserWarning), pytest.raises(UserError, match=f"--amp O1: .* {kind} on cpu; "):
        check_precision("--amp O1", kind)


# Tells what Paddle's libraries will find in the environment as they load.
SPY = """
import os, sys

class Spy:
    def find_spec(name, path=None, target=None):
        if name == "paddle":
            print("override:", os.environ.get("NVIDIA_TF32_OVERRIDE"), file=sys.stderr)

sys.meta_path.insert(0, Spy)
"""


@pytest.mark.parametrize(
    ("words", "of_user", "seen"),
    [
        (["eval.py"], None, "0"),
        (["eval.py", "--precision", "tf32"], None, "None"),
        (["eval.py"], "1", "1"),
        (["eval.py", "--precision", "tf32"], "1", "1"),
        (["train.py"], None, "0"),
        (["train.py", "--tf32"], None, "None"),
        (["predict.py", "film.png"], None, "0"),
    ],
)
def test_tf32_is_off_when_paddle_loads_unless_asked_for(tmp_path, words, of_user, seen):
    (tmp_path / "sitecustomize.py").write_text(SPY)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    environment.pop("NVIDIA_TF32_OVERRIDE", None)  # conftest.py's
    if of_user:
        environment["NVIDIA_TF32_OVERRIDE"] = of_user
    words = [sys.executable, ROOT / words[0], *words[1:]]
    result = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True)
    lines = [line for line in result.stderr.splitlines() if line.startswith("override")]
    # The parser asks first whether Paddle is there; the import is the second.
    assert lines[1:] == [f"override: {seen}"]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["eval.py", "--precision", "tf32"], ["train.py", "--tf32"]])
def test_tf32_is_refused_where_the_environment_or_the_device_has_none(
    fails, phantoms, random_weights, tmp_path, words
):
    environment = {**os.environ, "NVIDIA_TF32_OVERRIDE": "0"}
    assert "NVIDIA_TF32_OVERRIDE=0 in the environment forbids it" in fails(*words, env=environment)
    del environment["NVIDIA_TF32_OVERRIDE"]
    words += ["--data-dir", phantoms, "--weights", random_weights, "--device", "cpu"]
    error = fails(*words, env=environment, cwd=tmp_path)
    assert "tf32: a CPU has only fp32 and bf16" in error or "--tf32: needs an NVIDIA GPU" in error
    assert os.listdir(tmp_path) == []
