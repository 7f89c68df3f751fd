"""A network's weights as a PyTorch file, written and tried by torch in a process without Paddle.

`weights/torch_checkpoint.py` says why in another process.
"""

import os
import subprocess
import sys

import numpy as np

from runtime.files import UserError
from weights.array_pipe import digest, pack, unpack
from weights.torch_checkpoint import INSTALL_TORCH, ROOT
from weights.torch_names import paddle_name, torchvision_names
from weights.torch_network import forward


def write_torch(state, crops, path):
    """Write a state dict for torchvision's `densenet121` with a head of Linear and Sigmoid.

    Args:
        state: dict from the name of a `CheXNet`'s tensor to its float32 array.
        crops: float32 `[K, 3, H, W]`, normalised: what to try the file on.
        path: the file to write.

    Returns:
        float32 `[K, C]`: the probabilities that PyTorch computes of the crops with that file.

    Raises:
        UserError: torch is not installed or fails, or the file does not hold these tensors.
    """
    arrays = {"crops": crops}
    for name in torchvision_names():
        if not name.endswith("num_batches_tracked"):
            array = state[paddle_name(name)]
            # torch's Linear keeps [out, in], Paddle's [in, out].
            arrays[name] = array.T if name == "classifier.0.weight" else array
    result = subprocess.run(
        [sys.executable, "-m", "weights.torch_file", os.path.abspath(path)],
        cwd=ROOT,
        input=pack(arrays),
        stdout=subprocess.PIPE,
    )
    if result.returncode:
        raise UserError(
            "--format torch: the process that writes the file with torch ended with status "
            f'{result.returncode}; see above, try python -c "import torch", or {INSTALL_TORCH}'
        )
    found = unpack(result.stdout)
    probs = found.pop("probs")
    other = [name for name in found if not np.array_equal(found[name], digest(arrays[name]))]
    if other:
        raise UserError(
            f"--format torch: the file holds another {other[0]} than the network; nothing is "
            "written, please report it"
        )
    return probs


def main(path):
    """Write what standard input holds as a PyTorch file; answer with what the file predicts."""
    try:
        import torch
    except ImportError:
        sys.exit(f"the package torch is not installed; {INSTALL_TORCH}")
    arrays = unpack(sys.stdin.buffer.read())
    crops = torch.from_numpy(arrays.pop("crops"))
    state = {
        name: torch.tensor(0) if name not in arrays else torch.from_numpy(arrays[name])
        for name in torchvision_names()
    }
    torch.save(state, path)
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        found = {"probs": forward(state, crops).numpy()}
    found |= {name: digest(state[name].numpy()) for name in arrays}
    sys.stdout.buffer.write(pack(found))


if __name__ == "__main__":
    main(sys.argv[1])
