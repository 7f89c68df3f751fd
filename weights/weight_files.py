"""Weight files of Paddle's: `.pdparams` and `.safetensors`."""

import io
import os

import numpy as np
import paddle
import safetensors.numpy

from runtime.files import UserError, write_whole
from weights.array_pipe import row_major
from weights.untrusted_files import is_torch_checkpoint, read_pickle, read_safetensors


def read_weights(path):
    """Read a weight file without running code from it.

    Args:
        path: `.pdparams` or `.safetensors`.

    Returns:
        dict from tensor name to float array.

    Raises:
        UserError: as `load_weights`.
    """
    if os.path.isdir(path):
        best = os.path.join(path, "best_model.pdparams")
        give = best if os.path.isfile(best) else "a .pdparams or .safetensors file"
        raise UserError(f"{path}: this is a folder; give {give}")
    if not os.path.isfile(path):
        raise UserError(
            f"{path}: no such weight file; train one (train.py), convert a "
            "PyTorch checkpoint (convert_torch_weights.py), or download one (prepare_data.py "
            "download --weights): docs/data.md has the steps"
        )
    if is_torch_checkpoint(path):
        raise UserError(
            f"{path}: this is a PyTorch checkpoint; convert it first: "
            f"python convert_torch_weights.py {path} {_stem(path)}.pdparams"
        )
    if path.endswith(".safetensors"):
        state = read_safetensors(path)
    else:
        state = read_pickle(path)
        if isinstance(state, dict):
            # Paddle's own note of which parameter has which name; not a tensor.
            state.pop("StructuredToParameterName@@", None)
    if not isinstance(state, dict):
        raise UserError(
            f"{path}: want a dict of tensors, got a {type(state).__name__}; give a state dict"
        )
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise UserError(f"{path}: want {name!r} to be a float tensor, got {kind}; give weights")
        if not np.isfinite(array).all():
            raise UserError(
                f"{path}: want {name} to be finite, got NaN or infinity in it; "
                "take an earlier checkpoint"
            )
    return state


def state_bytes(state):
    """Return a state dict, of a network or an optimiser, as `paddle.save` writes it."""
    buffer = io.BytesIO()
    paddle.save(state, buffer)
    return buffer.getbuffer()


def save_state(state, path):
    """Write a state dict, of a network or an optimiser, as `paddle.save` does, but whole."""
    with write_whole(path) as file:
        file.write(state_bytes(state))


def save_safetensors(state, path, metadata):
    """Write arrays as a .safetensors file.

    Args:
        state: dict from name to array, of any strides (safetensors 0.8 minds them).
        path: the file.
        metadata: dict from text to text.
    """
    with write_whole(path) as file:
        file.write(safetensors.numpy.save(row_major(state), metadata))


def _stem(path):
    """Return a path without its extension, `.pth.tar` taken as one."""
    return os.path.splitext(path.removesuffix(".tar"))[0]
