"""A network's weights as a PyTorch file, written and tried by torch in a process without Paddle.

`weights/torch_checkpoint.py` says why in another process.
"""

import os
import subprocess
import sys

import numpy as np
import safetensors.numpy

from runtime.files import UserError
from weights.torch_checkpoint import INSTALL_TORCH, ROOT
from weights.torch_names import BLOCKS, paddle_name, torchvision_names


def write_torch(state, crops, path):
    """Write a state dict for torchvision's `densenet121` with a head of Linear and Sigmoid.

    Args:
        state: dict from the name of a `CheXNet`'s tensor to its float32 array.
        crops: float32 `[K, 3, H, W]`, normalised: what to try the file on.
        path: the file to write.

    Returns:
        float32 `[K, C]`: the probabilities that PyTorch computes of the crops with that file.

    Raises:
        UserError: torch is not installed, or fails.
    """
    arrays = {"crops": crops}
    for name in torchvision_names():
        if not name.endswith("num_batches_tracked"):
            array = state[paddle_name(name)]
            # torch's Linear keeps [out, in], Paddle's [in, out].
            arrays[name] = np.ascontiguousarray(array.T if name == "classifier.0.weight" else array)
    result = subprocess.run(
        [sys.executable, "-m", "weights.torch_file", os.path.abspath(path)],
        cwd=ROOT,
        input=safetensors.numpy.save(arrays),
        stdout=subprocess.PIPE,
    )
    if result.returncode:
        raise UserError(
            "--format torch: the process that writes the file with torch ended with status "
            f'{result.returncode}; see above, try python -c "import torch", or {INSTALL_TORCH}'
        )
    return safetensors.numpy.load(result.stdout)["probs"]


def forward(state, images):
    """Compute DenseNet-121 with sigmoids (Huang et al. 2017) on torchvision's tensors.

    Args:
        state: dict from torchvision's name to tensor.
        images: float32 `[K, 3, H, W]`.

    Returns:
        float32 `[K, C]`.
    """
    from torch.nn import functional

    def norm_relu(x, name):
        fields = (state[f"{name}.{f}"] for f in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *fields, eps=1e-5).relu()

    x = functional.conv2d(images, state["features.conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm_relu(x, "features.norm0"), 3, stride=2, padding=1)
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            place = f"features.denseblock{block}.denselayer{layer}"
            new = functional.conv2d(norm_relu(x, f"{place}.norm1"), state[f"{place}.conv1.weight"])
            new = norm_relu(new, f"{place}.norm2")
            new = functional.conv2d(new, state[f"{place}.conv2.weight"], padding=1)
            x = functional.torch.cat([x, new], 1)
        if block < len(BLOCKS):
            place = f"features.transition{block}"
            x = functional.conv2d(norm_relu(x, f"{place}.norm"), state[f"{place}.conv.weight"])
            x = functional.avg_pool2d(x, 2)
    x = norm_relu(x, "features.norm5").mean((2, 3))
    return functional.linear(x, state["classifier.0.weight"], state["classifier.0.bias"]).sigmoid()


def main(path):
    """Write what standard input holds as a PyTorch file; answer with what the file predicts."""
    try:
        import torch
    except ImportError:
        sys.exit(f"the package torch is not installed; {INSTALL_TORCH}")
    arrays = safetensors.numpy.load(sys.stdin.buffer.read())
    crops = torch.from_numpy(arrays.pop("crops"))
    state = {
        name: torch.tensor(0) if name not in arrays else torch.from_numpy(arrays[name])
        for name in torchvision_names()
    }
    torch.save(state, path)
    with torch.no_grad():
        probs = forward(torch.load(path, weights_only=True), crops).numpy()
    sys.stdout.buffer.write(safetensors.numpy.save({"probs": probs}))


if __name__ == "__main__":
    main(sys.argv[1])
