"""CheXNet by `paddle.hub`, Paddle's way of sharing a network.

network = paddle.hub.load("path/to/this/folder", "chexnet", source="local", weights="w.pdparams")
"""

import os
import sys

dependencies = ["paddle", "numpy", "safetensors"]

# The modules beside this file: paddle.hub imports it from anywhere.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def chexnet(weights=None, ten_crop=False, pretrained=False):
    """CheXNet: DenseNet-121 with a sigmoid for each of 14 findings. Not for clinical use.

    Args:
        weights: path of a `.pdparams` or `.safetensors` file, read strictly and without running
            code from it; None for a network that knows nothing of chest films.
        ten_crop: return a layer that averages over ten crops of uint8 `[N, 1 or 3, 256, 256]`.
        pretrained: without weights, start the backbone from Paddle's ImageNet weights.

    Returns:
        A `paddle.nn.Layer` in eval mode: float32 `[N, 3, 224, 224]`, ImageNet-normalised, or uint8
        pixels in; float32 `[N, 14]` out, in the order of `dataset.CLASS_NAMES`.

    Raises:
        UserError: the weights are missing or do not fit.
    """
    from model import CheXNet, TenCrop, load_weights  # here, or paddle.hub lists them as networks

    network = CheXNet(pretrained=pretrained and weights is None)
    if weights is not None:
        load_weights(network, weights)
    network = TenCrop(network) if ten_crop else network
    network.eval()
    return network
