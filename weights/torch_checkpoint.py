"""PyTorch checkpoints, read without running code from them and in a process without Paddle.

Where both are built for CUDA, one process cannot import Paddle and torch: the second fails with
"_gpuDeviceProperties is already registered" (Paddle issue 56812).
"""

import os
import pickle
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if __name__ == "__main__":
    sys.path[0] = ROOT  # where the project's modules are, not this folder

from runtime.files import UserError, first_line

INSTALL_TORCH = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
# What people call the state dict inside a checkpoint's dict.
STATE_DICT_KEYS = ("state_dict", "model_state_dict", "model", "net")


def read_torch(path):
    """Read the state dict of a checkpoint in a process of its own.

    Args:
        path: what torch.save wrote, in zip or legacy form.

    Returns:
        dict from name to NumPy array; floats are float32.

    Raises:
        UserError: torch is not there, or the file is broken or no state dict.
    """
    import safetensors.numpy

    command = [sys.executable, os.path.abspath(__file__), path]
    result = subprocess.run(command, stdout=subprocess.PIPE)
    if result.returncode == 2:
        raise UserError(result.stdout.decode())
    if result.returncode:
        raise UserError(
            f"{path}: the process that reads it with torch ended with status {result.returncode}; "
            'see above, and try python -c "import torch"'
        )
    return safetensors.numpy.load(result.stdout)


def load_torch(path):
    """Do what `read_torch` does, in this process."""
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
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or not isinstance(name, str):
            raise UserError(
                f"{path}: want a state dict, got a {type(tensor).__name__} under {name!r}; "
                f"give a dict of tensors, bare or under one of {', '.join(STATE_DICT_KEYS)}"
            )
        tensor = tensor.detach()  # of named_parameters(), say
        # NumPy knows no bfloat16.
        arrays[name] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    return arrays


def _broken(path, error):
    return UserError(
        f"{path}: want a complete PyTorch checkpoint, could not read it ({first_line(error)}); "
        "download it again"
    )


def main(path):
    """Write the arrays to standard output, or a message for the user and end with status 2."""
    import safetensors.numpy

    try:
        arrays = load_torch(path)
    except UserError as error:
        sys.stdout.buffer.write(str(error).encode())
        sys.exit(2)
    sys.stdout.buffer.write(safetensors.numpy.save(arrays))


if __name__ == "__main__":
    main(sys.argv[1])
