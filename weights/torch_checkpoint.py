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
_NAME = re.compile(r"GLOBAL (\S+)")  # in torch's message on a name that it does not know
# A pickle that names one of these wants to run something; what is harmless in them is let through.
MODULES_THAT_RUN = ("builtins", "__builtin__", "os", "posix", "nt", "subprocess", "sys", "runpy")
MODULES_THAT_RUN += ("importlib", "shutil", "socket", "ctypes", "code", "pty", "webbrowser")
HARMLESS = ("set", "frozenset", "complex", "slice", "bytearray", "object", "range", "int")
HARMLESS += ("float", "str", "list", "dict", "tuple", "bool", "bytes")


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


class StandIn(dict):
    """Takes the place of what is in a checkpoint beside tensors: nothing of it is made or run.

    Options (`argparse.Namespace`), NumPy's numbers, paths, classes of one's own. What is a kind of
    dict keeps its items.
    """

    def __init__(self, *words, **options):
        super().__init__()

    def __setstate__(self, state):
        pass

    def append(self, item):
        pass

    extend = append


def _load_pickled(path):
    """Return what torch.save wrote, with a `StandIn` for each object that torch does not know.

    Raises:
        pickle.UnpicklingError: a name in it is of `MODULES_THAT_RUN`, or the file is broken.
    """
    import torch

    # torch lets no kind of it be filled.
    stand_ins = {"collections.defaultdict": lambda *factory: {}}
    while True:
        try:
            # A name more each time: torch tells the first that it does not know.
            given = [(kind, name) for name, kind in stand_ins.items()]
            with torch.serialization.safe_globals(given):
                return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            found = _NAME.search(str(error))
            if not found or len(stand_ins) > 200:
                raise
            # Of what Python brings itself torch tells the bare name.
            unknown = found[1] if "." in found[1] else f"builtins.{found[1]}"
            module, _, name = unknown.rpartition(".")
            runs = module.partition(".")[0] in MODULES_THAT_RUN and name not in HARMLESS
            if runs or unknown in stand_ins:
                raise
            stand_ins[unknown] = type(name, (StandIn,), {"path": unknown})


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
            checkpoint = _load_pickled(path)
    except pickle.UnpicklingError as error:
        # The second: torch fills no object of another kind than dict.
        name = _NAME.search(str(error)) or re.search(
            r"Can only .* <class '\S+\.(\w+)'>", str(error)
        )
        if name is None:
            raise _broken(path, error) from None
        raise _whole_model(path, name[1]) from None
    except Exception as error:  # a broken file can raise anything
        raise _broken(path, error) from None

    state = checkpoint
    if isinstance(checkpoint, dict):
        chosen = next((key for key in STATE_DICT_KEYS if key in checkpoint), None)
        state = checkpoint.get(chosen, checkpoint)
        others = [key for key in checkpoint if key != chosen and _has_weights(checkpoint[key])]
        if chosen and others:  # averaged ones, often: their AUROCs are others
            print(
                f"note: {path} has weights under {chosen!r} and under {others[0]!r}: the first are "
                "converted; for the second, save only them",
                file=sys.stderr,
            )
    if isinstance(state, StandIn) and not state:
        raise _whole_model(path, state.path)
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


def _has_weights(content):
    """Tell whether a part of a checkpoint is a network's state dict too."""
    return isinstance(content, dict) and any(str(key).endswith("running_mean") for key in content)


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


def _whole_model(path, name):
    return UserError(
        f"{path}: want a state dict, got a pickle that calls {name}, which was not run; "
        "if it is a whole model and you trust where it is from, make a state dict of it: "
        f"`model = torch.load({path!r}, map_location='cpu', weights_only=False)` and "
        "`torch.save(model.state_dict(), 'state_dict.pth')`, or if it is a dict "
        "`torch.save(model['state_dict'], 'state_dict.pth')`"
    )


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
