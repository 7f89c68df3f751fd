"""Arrays on their way between two processes: as the bytes of an .npz file, whatever their strides.

safetensors 0.8 writes memory as it lies: a channels-last or transposed array comes out scrambled
(0.4.3 to 0.7.0 do not do so). NumPy writes values, but keeps Fortran's order, and torch.save would
keep it too.
"""

import hashlib
import io
import os

import numpy as np

from runtime.files import UserError


def pack(arrays):
    """Return a dict from text to array as bytes; shapes stay, of 0-d arrays too."""
    target = io.BytesIO()
    # By number: np.savez has parameters of its own, and a tensor may be called as one of them.
    np.savez(target, *row_major(arrays).values(), names=np.array([*arrays], np.str_))
    return target.getvalue()


def unpack(content):
    """Return what `pack` packed; runs no code that is hidden in it."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {str(name): file[f"arr_{n}"] for n, name in enumerate(file["names"])}


def row_major(arrays):
    """Return a dict of arrays with the same values and shapes in memory without gaps, C's order."""
    # np.ascontiguousarray gives 0-d arrays a dimension; this does not.
    return {name: np.asarray(array, order="C") for name, array in arrays.items()}


def check_held(state, arrays, path):
    """Raise UserError unless each tensor of a state dict is one of the arrays, bit by bit.

    Args:
        state: dict from name to tensor, Paddle's.
        arrays: iterable of what was read back, under names of another format.
        path: the file, for the message.
    """
    held = {(array.shape, array.tobytes()) for array in arrays}
    for name, tensor in state.items():
        array = tensor.numpy()
        if (array.shape, array.tobytes()) not in held:
            raise UserError(
                f"{os.path.basename(path)}: does not hold {name} as the network has it; nothing "
                "is written, please report it"
            )


def digest(array):
    """Return the SHA-256 of an array's values in row-major order, uint8 `[32]`."""
    return np.frombuffer(hashlib.sha256(array.tobytes()).digest(), np.uint8)
