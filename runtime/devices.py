"""The device that Paddle computes on, and this process among several."""

import os
import sys

import paddle

from runtime.files import UserError

BACKEND = "PADDLE_DISTRI_BACKEND"  # how ranks talk: set by Paddle's launchers


def accelerators():
    """Return the devices besides the CPU that Paddle finds, such as ["gpu:0", "gpu:1"].

    GPUs come first, then XPUs, then what is plugged in (`CUSTOM_DEVICE_ROOT`).
    """
    found = paddle.device.get_available_device() or []
    numbered = [name if ":" in name else f"{name}:0" for name in found if name != "cpu"]
    return sorted(numbered, key=lambda name: not name.startswith("gpu:"))  # stable


def set_device(name, autotune=False):
    """Point Paddle at a device and return its name, such as "cpu" or "gpu:0".

    Args:
        name: what `find_device` takes.
        autotune: turn on `paddle.incubate.autotune` for kernels and layout.

    Raises:
        UserError: there is no such device.
    """
    paddle.set_device(find_device(name))
    if autotune:
        paddle.incubate.autotune.set_config(
            {"kernel": {"enable": True}, "layout": {"enable": True}}
        )
    return paddle.get_device()


def find_device(name):
    """Return the device that a name means, without touching it.

    Args:
        name: "cpu"; a type, such as "gpu", "xpu", "npu" or that of a plugged-in device; one of
            several, such as "gpu:1"; or "auto": a GPU, else another accelerator, else the CPU.

    Raises:
        UserError: there is no such device (the message names those that there are), or the ranks
            talk over gloo, which knows only the CPU.
    """
    found = accelerators()
    if paddle.distributed.get_world_size() > 1 and os.environ.get(BACKEND) == "gloo":
        if name not in ("auto", "cpu"):
            raise UserError(
                f"--device {name}: the ranks talk over gloo, which knows only the CPU; "
                "start them without --backend gloo, or use --device cpu"
            )
        name = "cpu"
    if name == "auto":
        name = choose_device(found)
    if name != "cpu" and name not in (*found, *(device.split(":")[0] for device in found)):
        there = ", ".join(["cpu", *found])
        raise UserError(f"--device {name}: no such device; there is {there}{_gpu_remedy(name)}")
    return name


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


def print_once(*words, **options):
    """Print, only in the first of several processes."""
    if is_first_rank():
        print(*words, **options)
