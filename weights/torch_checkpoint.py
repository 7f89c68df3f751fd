"""PyTorch checkpoints, read without running code from them and in a process without Paddle.

Where both are built for CUDA, one process cannot import Paddle and torch: the second fails with
"_gpuDeviceProperties is already registered" (Paddle issue 56812).
"""

import os
import pickle
import re
import subprocess
import sys
from typing import NamedTuple

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.path[0] = ROOT  # where the project's modules are, not this folder

from runtime.files import UserError, first_line
from weights.array_pipe import digest, pack, unpack
from weights.torch_names import paddle_name, torchvision_names
from weights.torch_network import forward

INSTALL_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
# What people call the state dict inside a checkpoint's dict.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "net")
HEAD = ("classifier.0.weight", "classifier.0.bias")  # torchvision's names, for a Sequential
PROBS = "probabilities"


class Checkpoint(NamedTuple):
    """A PyTorch checkpoint, and what tells whether a copy of it is right.

    Attributes:
        arrays: dict from torch's name to array; floats are float32.
        digests: dict from name to the SHA-256 of the tensor as PyTorch has it, uint8 `[32]`.
        probs: float32 `[K, C]`, what PyTorch computes of the crops; None where it is no
            DenseNet-121 with a head.
    """

    arrays: dict
    digests: dict
    probs: object


def read_torch(path, crops, head=None):
    """Read the state dict of a checkpoint in a process of its own, and predict with it there.

    Args:
        path: what torch.save wrote, in zip or legacy form; or a .safetensors file.
        crops: float32 `[K, 3, H, W]`, normalised.
        head: weight `[C, 1024]` and bias `[C]` to predict with, if not the checkpoint's own.

    Returns:
        a `Checkpoint`.

    Raises:
        UserError: torch is not there, or the file is broken or no state dict.
    """
    sent = {"crops": crops} | dict(zip(HEAD, head or (), strict=False))
    command = [sys.executable, os.path.abspath(__file__), path]
    result = subprocess.run(command, input=pack(sent), stdout=subprocess.PIPE)
    if result.returncode == 2:
        raise UserError(result.stdout.decode())
    if result.returncode:
        raise UserError(
            f"{path}: the process that reads it with torch ended with status {result.returncode}; "
            'see above, and try python -c "import torch"'
        )
    size = int.from_bytes(result.stdout[:8], "big")
    proof = unpack(result.stdout[8 : 8 + size])
    probs = proof.pop(PROBS, None)
    return Checkpoint(unpack(result.stdout[8 + size :]), proof, probs)


def load_torch(path):
    """Return a checkpoint's tensors, in this process: dict from name to tensor, floats float32."""
    try:
        import torch
    except ImportError as error:
        if error.name == "torch":
            raise UserError(
                f"{path}: the package torch, which reads it, is not installed; {INSTALL_TORCH}"
            ) from None
        raise UserError(
            f"{path}: the package torch, which reads it, does not load ({first_line(error)}); "
            f"install it again: {INSTALL_TORCH}"
        ) from None

    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            checkpoint = load_file(path)
        else:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        name = re.search(r"GLOBAL (\S+)", str(error))
        if name is None:
            raise _broken(path, error) from None
        raise UserError(
            f"{path}: want a state dict, got a pickle that calls {name[1]}, which was not run; "
            "if it is a whole model and you trust where it is from, make a state dict of it: "
            f"`model = torch.load({path!r}, map_location='cpu', weights_only=False)` and "
            "`torch.save(model.state_dict(), 'state_dict.pth')`"
        ) from None
    except Exception as error:  # a broken file can raise anything
        raise _broken(path, error) from None

    state = checkpoint
    if isinstance(checkpoint, dict):
        state = next((checkpoint[key] for key in STATE_DICT_KEYS if key in checkpoint), checkpoint)
    if not isinstance(state, dict):
        raise UserError(
            f"{path}: want a state dict, got a {type(state).__name__}; "
            "save model.state_dict() instead"
        )
    tensors = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or not isinstance(name, str):
            raise UserError(
                f"{path}: want a state dict, got a {type(tensor).__name__} under {name!r}; "
                f"give a dict of tensors, bare or under one of {', '.join(STATE_DICT_KEYS)}"
            )
        tensor = tensor.detach()  # of named_parameters(), say
        # NumPy knows no bfloat16.
        tensors[name] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors


def predict(tensors, given):
    """Return what PyTorch computes of crops, float32 `[K, C]`; None if this is no such network.

    Args:
        tensors: what `load_torch` returned.
        given: dict with "crops" and perhaps a head, arrays.
    """
    import torch

    ours = {paddle_name(name): tensor for name, tensor in tensors.items()}
    state = {name: ours.get(paddle_name(name)) for name in torchvision_names()}
    state |= {name: torch.from_numpy(given[name]) for name in HEAD if name in given}
    try:
        with torch.no_grad():
            return forward(state, torch.from_numpy(given["crops"])).numpy()
    except (AttributeError, RuntimeError, TypeError):  # a tensor is missing or does not fit
        return None


def _broken(path, error):
    return UserError(
        f"{path}: want a complete PyTorch checkpoint, could not read it ({first_line(error)}); "
        "download it again"
    )


def main(path):
    """Write the arrays and what they must be to standard output, or a message and end with 2."""
    given = unpack(sys.stdin.buffer.read())
    try:
        tensors = load_torch(path)
    except UserError as error:
        sys.stdout.buffer.write(str(error).encode())
        sys.exit(2)
    proof = {name: digest(tensor.contiguous().numpy()) for name, tensor in tensors.items()}
    probs = predict(tensors, given)
    proof = pack(proof if probs is None else proof | {PROBS: probs})
    sys.stdout.buffer.write(len(proof).to_bytes(8, "big") + proof)
    sys.stdout.buffer.write(pack({name: tensor.numpy() for name, tensor in tensors.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
