"""What a training step takes of memory, counted by Paddle's allocator, and what is said of it."""

import re
import subprocess
import sys

import numpy as np
import paddle
import pytest
from helpers.places import ROOT
from paddle.base import core

from kernels import densenet
from model import CheXNet, LogLoss
from runtime.paddle_errors import paddle_error
from training.memory import CAN_RECOMPUTE, FILM, FILM_RECOMPUTED, GIB, step_memory, why_too_much

SIDE = 64  # pixels; a film takes (64 / 224)^2 of one of 224 pixels, to the byte


@pytest.fixture
def paddle_kernels(monkeypatch):
    """Paddle's own operators, as on a card; on a CPU oneDNN computes otherwise."""
    monkeypatch.setattr(densenet, "can_run", lambda network, images: False)


def step(recomputes, films, freezes=False):
    """Return loss, gradients and statistics of a step from the same start, and two sizes: bytes
    that the forward pass kept, and the most that were taken."""
    paddle.seed(7)
    network = CheXNet()
    network.recomputes = recomputes
    network.train()
    if freezes:  # some norms, in both ways that Paddle knows
        network.densenet121.dense_block_func_list[1].eval()
        network.densenet121.batch_norm._use_global_stats = True
    rng = np.random.default_rng(0)
    pixels = paddle.to_tensor(rng.integers(0, 256, (films, 1, SIDE, SIDE), np.uint8))
    labels = paddle.to_tensor((rng.random((films, 14)) < 0.2).astype(np.float32))
    before = core.host_memory_stat_current_value("Allocated", 0)
    core.host_memory_stat_reset_peak_value("Allocated", 0)
    loss = LogLoss()(network(pixels), labels)
    kept = core.host_memory_stat_current_value("Allocated", 0) - before
    loss.backward()
    peak = core.host_memory_stat_peak_value("Allocated", 0) - before
    parameters = dict(network.named_parameters())
    gradients = {name: p.grad.numpy() for name, p in parameters.items() if p.trainable}
    statistics = {name: p.numpy() for name, p in parameters.items() if not p.trainable}
    return float(loss), gradients, statistics, kept, peak


needs_recompute = pytest.mark.skipif(not CAN_RECOMPUTE, reason="Paddle 2.6 cannot recompute")


@pytest.fixture
def steps(paddle_kernels):
    """Of --recompute and without: `step` of 2 films and of 6."""
    return {recomputes: [step(recomputes, films) for films in (2, 6)] for recomputes in (0, 1)}


def same_step(one, other):
    """Two of `step` with the same loss, gradients and statistics, which have moved on once."""
    assert other[0] == pytest.approx(one[0], rel=1e-6)
    for part in (1, 2):
        assert one[part].keys() == other[part].keys()
        for name, expected in one[part].items():
            scale = np.abs(expected).max() + 1e-12
            np.testing.assert_allclose(other[part][name] / scale, expected / scale, atol=1e-5)


@needs_recompute
def test_recomputing_gives_the_same_gradients_in_a_third_of_the_memory(steps):
    for one, other in zip(*steps.values(), strict=True):
        same_step(one, other)
    pixels = (SIDE / 224) ** 2
    kept, peak = ((more[n] - few[n]) / 4 for n, (few, more) in ((3, steps[0]), (4, steps[1])))
    print(f"a film of 224 pixels: {kept / pixels / 2**20:.1f}, {peak / pixels / 2**20:.1f} MiB")
    assert kept == pytest.approx(FILM * pixels, rel=0.01)
    assert 0.9 < peak / (FILM_RECOMPUTED * pixels) < 1.02  # of few films gradients are the peak
    assert peak < 0.5 * kept


@needs_recompute
def test_frozen_batch_norms_are_recomputed_with_the_statistics_that_they_keep(paddle_kernels):
    same_step(step(False, 2, freezes=True), step(True, 2, freezes=True))


def test_a_network_that_does_not_train_recomputes_nothing(paddle_kernels):
    network = CheXNet()
    network.eval()
    pixels = paddle.to_tensor(np.full((1, 1, SIDE, SIDE), 90, np.uint8))
    expected = network(pixels).numpy()
    network.recomputes = True
    np.testing.assert_array_equal(network(pixels).numpy(), expected)


def test_help_has_the_table_of_memory():
    words = [sys.executable, ROOT / "train.py", "--help"]
    text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    table = text[text.index("GiB of a device's memory") :].splitlines()[1:]
    films = [int(word) for word in table[0].split()[1:]]
    assert films == [16, 32, 64, 128]
    for line, options in zip(
        table[1:], [(False, False), (True, False), (False, True), (True, True)], strict=True
    ):
        assert ("--amp" in line, "--recompute" in line) == options
        numbers = [float(word) for word in re.findall(r"\d+\.\d", line)]
        assert numbers == [round(step_memory(n, 224, *options) / GIB, 1) for n in films], line


@pytest.mark.slow
def test_recompute_is_refused_where_paddle_cannot(script, phantoms, tmp_path):
    if CAN_RECOMPUTE:
        pytest.skip("this Paddle can")
    words = ["--data-dir", phantoms, "--pretrained", "none", "--recompute", "--device", "cpu"]
    result = script("train.py", *words, "--crop-size", 64, "--resize", 72, cwd=tmp_path)
    assert result.returncode == 2 and "--recompute: want Paddle 3, got 2.6" in result.stderr


@needs_recompute
# A card of 16 GB shows about 15.7 GiB, of which some are taken.
@pytest.mark.parametrize(
    ("free", "options", "text"),
    [
        (16, (False, False), ""),
        (
            15,
            (False, False),
            "--batch-size 128 takes at least 15.5 GiB, 15.0 GiB are free; what fits: --amp O1 "
            "(7.8 GiB), --recompute (4.8 GiB), --amp O1 --recompute (2.5 GiB), --batch-size 124",
        ),
        (
            4,
            (True, False),
            "--batch-size 128 takes at least 7.8 GiB, 4.0 GiB are free; what fits: --recompute "
            "(2.5 GiB), --batch-size 64",
        ),
        (
            0.05,
            (True, True),
            "--batch-size 128 takes at least 2.5 GiB, 0.1 GiB are free; nothing fits: use another "
            "device",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(free, options, text):
    said = why_too_much(free * GIB, 128, 224, *options)
    assert said == (f"{text} (docs/gpus.md)" if text else "")


def test_full_memory_is_one_line(tmp_path):
    """A real one: the machine has no petabyte."""
    code = (
        "from runtime import command_line\n"
        "import paddle\n"
        "command_line.run(lambda: paddle.empty([1 << 50], 'uint8'))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 2
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error:"))
    assert "give a smaller --batch-size; --amp O1 and --recompute" in line
    assert "Traceback" not in result.stderr


# As Paddle 3.3.1 formats them (paddle/common/enforce.h), texts from its sources.
@pytest.mark.parametrize(
    ("error", "begin"),
    [
        (
            OSError(
                "(External) CUDA error(209), no kernel image is available for execution on the "
                "device. \n  [Hint: 'cudaErrorNoKernelImageForDevice'. ...] (at /paddle/a.cc:1)\n"
            ),
            "the device failed: CUDA error(209), no kernel image is available for execution on",
        ),
        (
            OSError(
                "\n\n-----\nC++ Traceback (most recent call last):\n0  a::b()\n\n-----\nError "
                "Message Summary:\n-----\nExternalError: NCCL error(2), unhandled system error. \n"
            ),
            "the device failed: NCCL error(2), unhandled system error; if its memory is full",
        ),
        (
            MemoryError(
                "(ResourceExhausted) \n\nOut of memory error on GPU 0. Cannot allocate 1.5GB "
                "memory on GPU 0, 15.7GB memory has been allocated.\n\nPlease check ..."
            ),
            "Out of memory error on GPU 0. Cannot allocate 1.5GB memory on GPU 0, 15.7GB memory "
            "has been allocated; give a smaller --batch-size",
        ),
        (MemoryError(), "out of memory; give a smaller --batch-size"),
        (
            SystemError("(Fatal) DataLoader process (pid 9) exited is killed by signal: Killed."),
            "a process that read films was killed",
        ),
        (RuntimeError("shape mismatch"), None),
        (OSError(), None),
    ],
)
def test_errors_of_devices_are_one_line(error, begin):
    text = paddle_error(error)
    assert text is None if begin is None else text.startswith(begin) and "\n" not in text
