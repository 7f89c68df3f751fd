"""Arrays on their way between two processes: as the bytes of an .npz file, whatever their strides.

NumPy writes an array in its own order. safetensors 0.8 writes memory as it lies: a channels-last or
transposed array comes out scrambled (0.4.3 to 0.7.0 do not do so).
"""

import hashlib
import io

import numpy as np


def pack(arrays):
    """Return a dict from text to array as bytes; shapes stay, of 0-d arrays too."""
    target = io.BytesIO()
    # By number: np.savez has parameters of its own, and a tensor may be called as one of them.
    np.savez(target, *arrays.values(), names=np.array([*arrays], np.str_))
    return target.getvalue()


def unpack(content):
    """Return what `pack` packed; runs no code that is hidden in it."""
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return {str(name): file[f"arr_{n}"] for n, name in enumerate(file["names"])}


def digest(array):
    """Return the SHA-256 of an array's values in row-major order, uint8 `[32]`."""
    return np.frombuffer(hashlib.sha256(array.tobytes()).digest(), np.uint8)
