"""The device that Paddle computes on, and this process among several."""

import os

import paddle

from runtime.files import UserError

BACKEND = "PADDLE_DISTRI_BACKEND"  # how ranks talk: set by Paddle's launchers


def set_device(name, autotune=False):
    """Point Paddle at a device and return its name, "cpu" or "gpu:0".

    Args:
        name: "cpu", "gpu", or "auto": a GPU where this Paddle and this machine have one.
        autotune: turn on `paddle.incubate.autotune` for kernels and layout.

    Raises:
        UserError: a GPU was asked for and this machine or this Paddle has none, or the ranks talk
            over gloo, which knows the CPU alone.
    """
    if paddle.distributed.get_world_size() > 1 and os.environ.get(BACKEND) == "gloo":
        if name == "gpu":
            raise UserError(
                "--device gpu: the ranks talk over gloo, which knows the CPU alone; "
                "start them without --backend gloo, or use --device cpu"
            )
        name = "cpu"
    has_gpu = paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0
    if name == "gpu" and not has_gpu:
        raise UserError(
            "--device gpu: this Paddle or this machine has no GPU; "
            "install paddlepaddle-gpu (docs/gpus.md) or use --device cpu"
        )
    paddle.set_device("gpu" if has_gpu and name != "cpu" else "cpu")
    if autotune:
        paddle.incubate.autotune.set_config(
            {"kernel": {"enable": True}, "layout": {"enable": True}}
        )
    return paddle.get_device()


def is_first_rank():
    """Tell whether this process writes and prints: of several, one does."""
    return paddle.distributed.get_rank() == 0


def print_once(*words, **options):
    """Print, in the first of several processes alone."""
    if is_first_rank():
        print(*words, **options)
