"""The device that Paddle computes on, and this process among several."""

import contextlib
import os
import subprocess
import sys

import paddle

from runtime import environment
from runtime.files import UserError

BACKEND = "PADDLE_DISTRI_BACKEND"  # how ranks talk: set by Paddle's launchers


def accelerators():
    """Return the devices besides the CPU that Paddle finds, such as ["gpu:0", "gpu:1"].

    GPUs come first (NVIDIA's, or AMD's in a ROCm build), then XPUs, then what is plugged in
    (`CUSTOM_DEVICE_ROOT`). `paddle.device.get_available_device` is not asked: in wheels built
    without custom devices (2.6.2 and others) it returns no GPU whatever cards there are.
    """
    gpus = [f"gpu:{n}" for n in range(paddle.device.cuda.device_count())]
    # `paddle.device.xpu` of Paddle 2.6 does not count them.
    count_xpus = getattr(paddle.base.core, "get_xpu_device_count", lambda: 0)
    xpus = [f"xpu:{n}" for n in range(count_xpus())]
    plugged_in = paddle.device.get_available_custom_device() or []
    return [*gpus, *xpus, *(name if ":" in name else f"{name}:0" for name in plugged_in)]


def set_device(name, autotune=False):
    """Point Paddle at a device and return its name, such as "cpu" or "gpu:0".

    Args:
        name: what `find_device` takes.
        autotune: let Paddle search cuDNN's algorithms in the steps of a training. It searches only
            there; data layouts stay, as batch norm would transpose them twice.

    Raises:
        UserError: there is no such device, or Paddle finds no cuDNN for a GPU.
    """
    name = find_device(name)
    if name.startswith("gpu"):
        check_cudnn()
    paddle.set_device(name)
    if autotune:
        paddle.incubate.autotune.set_config({"kernel": {"enable": True}})
    return paddle.get_device()


def find_device(name):
    """Return the device that a name means, without touching it.

    Args:
        name: "cpu"; a type, such as "gpu", "xpu", "npu" or that of a plugged-in device; one of
            several, such as "gpu:1"; or "auto": a GPU, else another accelerator, else the CPU.

    Raises:
        UserError: there is no such device (the message names those that there are); or of several
            processes Paddle would take another one than the name says.
    """
    found = accelerators()
    several = paddle.distributed.get_world_size() > 1
    if several and os.environ.get(BACKEND) == "gloo":
        if name not in ("auto", "cpu"):
            raise UserError(
                f"--device {name}: the ranks talk over gloo, which knows only the CPU; "
                "start them without --backend gloo, or use --device cpu"
            )
        name = "cpu"
    elif several and name == "cpu" and found:
        # Paddle's init_parallel_env would move to the accelerator, after us and without a word.
        raise UserError(
            f"--device cpu: the ranks do not talk over gloo, and would compute on {found[0]}; "
            "start them with --backend gloo, or leave --device out"
        )
    if name == "auto":
        name = choose_device(found)
    if name != "cpu" and name not in (*found, *(device.split(":")[0] for device in found)):
        there = ", ".join(["cpu", *found])
        raise UserError(f"--device {name}: no such device; there is {there}{_gpu_remedy(name)}")
    return name


def check_cudnn():
    """Raise UserError where Paddle is built for NVIDIA's cards and cannot load cuDNN."""
    if not paddle.is_compiled_with_rocm() and paddle.device.get_cudnn_version() is None:
        raise UserError(
            "--device gpu: Paddle cannot load cuDNN (libcudnn.so); install it for Paddle's CUDA "
            f"{paddle.version.cuda()} and name its folder in LD_LIBRARY_PATH (docs/gpus.md)"
        )


def describe_device():
    """Return what a result depends on of the current device: a dict for config.json.

    Its keys are "device_name", and on a GPU "cuda" and "cudnn", the versions that Paddle uses, and
    "driver", NVIDIA's, None where nvidia-smi does not tell it.
    """
    device = paddle.get_device()
    if not device.startswith("gpu"):
        return {"device_name": environment.processor_name() if device == "cpu" else device}
    return {
        "device_name": paddle.device.cuda.get_device_name(),
        "cuda": paddle.version.cuda(),
        "cudnn": paddle.device.get_cudnn_version(),
        "driver": nvidia_driver(),
    }


def nvidia_driver():
    """Return the version of NVIDIA's driver as nvidia-smi tells it, or None."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(lines.split()), None)


def free_memory():
    """Return the bytes of the current device that are free; of a GPU under Paddle 2.6 all it has.

    None where Paddle does not tell: on a CPU and on plugged-in devices.
    """
    if not paddle.get_device().startswith("gpu"):
        return None
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
        return paddle.cuda.mem_get_info()[0]
    with contextlib.suppress(AttributeError, OSError, RuntimeError, ValueError):
        return paddle.device.cuda.get_device_properties().total_memory
    return None


def choose_device(found):
    """Return the type of device that "auto" means where Paddle finds these accelerators."""
    if not found and paddle.is_compiled_with_cuda():
        print(
            "this Paddle is built for CUDA but finds no GPU: computing on the CPU "
            "(does nvidia-smi show the card? docs/gpus.md)",
            file=sys.stderr,
        )
    # Without a number: of several processes, each takes the card that its launcher gave it.
    return found[0].split(":")[0] if found else "cpu"


def _gpu_remedy(name):
    if not name.startswith("gpu"):
        return ""
    if paddle.is_compiled_with_cuda():
        return "; this Paddle is built for CUDA: does nvidia-smi show the card? (docs/gpus.md)"
    return "; this Paddle is built for the CPU: install paddlepaddle-gpu (docs/gpus.md)"


def is_first_rank():
    """Tell whether this process writes and prints: of several, one does."""
    return paddle.distributed.get_rank() == 0


def print_on_first_rank(*words, **options):
    """Print, only in the first of several processes."""
    if is_first_rank():
        print(*words, **options)
