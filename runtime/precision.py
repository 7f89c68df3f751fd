"""What a device computes in: Paddle only warns where it lacks a precision, and takes float32."""

import os

import paddle

from runtime.files import UserError

# NVIDIA's compute capability from which on Paddle's auto_cast casts, or a GPU has TF32.
NEEDED = {"float16": (7, 0), "bfloat16": (8, 0), "tf32": (8, 0)}


def lacking(kind, capability):
    """Return why a device cannot compute in a precision, or "".

    Args:
        kind: "float16", "bfloat16" or "tf32".
        capability: compute capability of an NVIDIA GPU, (major, minor); None: another device.
    """
    needed = "{}.{}".format(*NEEDED[kind])
    if capability is None:
        return f"needs an NVIDIA GPU of compute capability {needed}" if kind == "tf32" else ""
    if tuple(capability) < NEEDED[kind]:
        return f"needs compute capability {needed}, this GPU has {capability[0]}.{capability[1]}"
    return ""


def float32_kind(capability, override):
    """Return what a device computes convolutions of float32 in: "fp32" or "tf32".

    Args:
        capability: as for `lacking`.
        override: the environment variable NVIDIA_TF32_OVERRIDE, or None.
    """
    return "fp32" if lacking("tf32", capability) or override == "0" else "tf32"


def current_float32_kind():
    """Return `float32_kind` of Paddle's current device and this process."""
    return float32_kind(_capability(), os.environ.get("NVIDIA_TF32_OVERRIDE"))


def check_precision(option, kind):
    """Make sure that Paddle's current device computes in a precision.

    Args:
        option: what asked for it, for the message.
        kind: as for `lacking`.

    Raises:
        UserError: it does not.
    """
    reason = lacking(kind, _capability())
    if not reason and kind != "tf32":
        pixel = paddle.ones([1, 1, 1, 1])
        with paddle.amp.auto_cast(dtype=kind):
            cast = paddle.nn.functional.conv2d(pixel, pixel)
        if cast.dtype != getattr(paddle, kind):
            reason = f"Paddle does not cast to {kind} on {paddle.get_device()}"
    if reason:
        raise UserError(f"{option}: {reason}; compute in float32, or use another device")


def _capability():
    is_nvidia = paddle.get_device().startswith("gpu") and not paddle.is_compiled_with_rocm()
    return paddle.device.cuda.get_device_capability() if is_nvidia else None
