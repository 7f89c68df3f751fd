"""Which device Paddle gets, in builds and on machines that are not here; their answers are set."""

import glob
import importlib.metadata
import os

import paddle
import pytest

from runtime import devices, environment
from runtime.devices import accelerators, find_device, set_device
from runtime.files import UserError

CORE = paddle.base.core


@pytest.fixture
def machine(monkeypatch):
    """Say how many cards of which kind Paddle's core counts."""

    def has(gpus=0, xpus=0, plugged_in=None, ranks=1, backend=None):
        monkeypatch.setattr(CORE, "get_cuda_device_count", lambda: gpus, raising=False)
        monkeypatch.setattr(CORE, "get_xpu_device_count", lambda: xpus, raising=False)
        # What wheels built without custom devices answer, whatever cards there are.
        monkeypatch.setattr(paddle.device, "get_available_device", lambda: [])
        monkeypatch.setattr(paddle.device, "get_available_custom_device", lambda: plugged_in)
        monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: ranks)
        monkeypatch.delenv(devices.BACKEND, raising=False)
        if backend:
            monkeypatch.setenv(devices.BACKEND, backend)

    return has


def test_cards_are_found_where_paddle_lists_no_device(machine):
    machine(gpus=2)
    assert accelerators() == ["gpu:0", "gpu:1"]
    assert find_device("auto") == "gpu" and find_device("gpu:1") == "gpu:1"
    with pytest.raises(UserError, match="--device gpu:2: no such device; there is cpu, gpu:0, gpu"):
        find_device("gpu:2")


def test_other_accelerators_come_behind_gpus(machine):
    machine(gpus=1, xpus=2, plugged_in=["npu:0", "CustomCPU"])
    assert accelerators() == ["gpu:0", "xpu:0", "xpu:1", "npu:0", "CustomCPU:0"]
    machine(xpus=1, plugged_in=["npu:0"])
    assert find_device("auto") == "xpu"


def test_without_a_card_it_is_the_cpu_and_a_cuda_build_says_so(machine, monkeypatch, capsys):
    machine()
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    assert find_device("auto") == "cpu"
    assert "built for CUDA but finds no GPU: computing on the CPU" in capsys.readouterr().err


@pytest.mark.parametrize("backend", [None, "nccl", "xccl"])
def test_ranks_that_would_move_to_the_cards_are_no_run_on_the_cpu(machine, backend):
    """Paddle's init_parallel_env sets the place anew unless the ranks talk over gloo."""
    machine(gpus=2, ranks=2, backend=backend)
    with pytest.raises(UserError, match=r"--device cpu: .* would compute on gpu:0; start"):
        find_device("cpu")
    assert find_device("auto") == "gpu"
    machine(gpus=2, ranks=2, backend="gloo")
    assert find_device("cpu") == find_device("auto") == "cpu"
    machine(ranks=2, backend=backend)
    assert find_device("cpu") == "cpu"


def test_a_card_without_cudnn_is_one_line(machine, monkeypatch):
    """The wheel of Paddle 2.6.2 for GPUs answers so by itself: it brings no cuDNN."""
    machine(gpus=1)
    if not paddle.is_compiled_with_cuda():
        monkeypatch.setattr(paddle.device, "get_cudnn_version", lambda: None)
    elif paddle.device.get_cudnn_version() is not None:
        pytest.skip("this Paddle finds cuDNN")
    with pytest.raises(UserError, match=r"cannot load cuDNN \(libcudnn.so\); install it for"):
        set_device("auto")


# A card in a container that was given the fourth only; in WSL2; none.
@pytest.mark.parametrize(
    ("files", "wheel", "found"),
    [
        (["/dev/nvidia3"], "paddlepaddle-gpu", True),
        (["/dev/dxg"], "paddlepaddle-gpu", True),
        (["/dev/nvidiactl"], "paddlepaddle-gpu", False),
        (["/dev/nvidia0"], "paddlepaddle", False),
    ],
)
def test_one_thread_is_for_machines_whose_card_paddle_will_use(files, wheel, found, monkeypatch):
    def version(name):
        if name != wheel:
            raise importlib.metadata.PackageNotFoundError(name)
        return "3.3.1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(glob, "glob", lambda pattern: [f for f in files if f[:-1] == pattern[:11]])
    monkeypatch.setattr(os.path, "exists", lambda path: path in files)
    assert environment.has_gpu() is found


def test_the_driver_is_what_nvidia_smi_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.nvidia_driver() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 535.104.05\necho 535.104.05\n")  # a line for each card
    program.chmod(0o755)
    assert devices.nvidia_driver() == "535.104.05"
    program.write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    assert devices.nvidia_driver() is None


def test_autotune_searches_algorithms_and_leaves_the_layout(monkeypatch):
    """With channels last batch norm would transpose twice, unless a flag of its own is set."""
    called = []
    for name in ("enable_autotune", "enable_layout_autotune"):
        monkeypatch.setattr(CORE, name, lambda name=name: called.append(name))
    set_device("cpu", autotune=True)
    assert called == ["enable_autotune"]


def test_there_is_no_search_where_no_step_is_counted(fails):
    """A step is counted in `backward()`: an evaluation would never search."""
    assert "eval.py: no such option or argument: --autotune" in fails("eval.py", "--autotune")
    error = fails("train.py", "--autotune", "--deterministic")
    assert "--autotune takes whatever algorithm is fastest: not with --deterministic" in error
