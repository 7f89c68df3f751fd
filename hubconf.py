"""CheXNet by `paddle.hub`, Paddle's way of sharing a network.

network = paddle.hub.load("path/to/this/folder", "chexnet", source="local", weights="w.pdparams")
"""

import contextlib
import os
import sys

dependencies = ["paddle", "numpy", "safetensors"]

_HERE = os.path.dirname(os.path.abspath(__file__))
_NAMES = {os.path.splitext(name)[0] for name in os.listdir(_HERE)} - {"hubconf"}


@contextlib.contextmanager
def _own_modules():
    """Let imports find the modules beside this file; the caller may have others of these names.

    Afterwards the caller's are found again.
    """
    before = {name: module for name, module in sys.modules.items() if _is_named_as_ours(name)}
    path = sys.path[:]
    for name, module in before.items():
        if not (getattr(module, "__file__", None) or "").startswith(_HERE + os.sep):
            del sys.modules[name]
    sys.path.insert(0, _HERE)
    try:
        yield
    finally:
        for name in filter(_is_named_as_ours, [*sys.modules]):
            del sys.modules[name]
        sys.modules.update(before)
        sys.path[:] = path


def _is_named_as_ours(name):
    return name.partition(".")[0] in _NAMES


def chexnet(weights=None, ten_crop=False, pretrained=False):
    """CheXNet: DenseNet-121 with a sigmoid for each of 14 findings. Not for clinical use.

    Args:
        weights: path of a `.pdparams` or `.safetensors` file, read strictly and without running
            code from it; None for a network that knows nothing of chest films.
        ten_crop: return a layer that averages over ten crops of uint8 `[N, 1 or 3, 256, 256]`; its
            `size` is a crop's side, 224: set it for weights that were trained with another.
        pretrained: without weights, start the backbone from Paddle's ImageNet weights.

    Returns:
        A `paddle.nn.Layer` in eval mode: float32 `[N, 3, 224, 224]`, ImageNet-normalised, or uint8
        pixels in; float32 `[N, C]` out, in the order of `dataset.CLASS_NAMES`.

    Raises:
        UserError: the weights are missing or do not fit.
    """
    with _own_modules():
        from films.label_lists import CLASS_NAMES
        from model import CheXNet, TenCrop, load_weights

        network = CheXNet(len(CLASS_NAMES), pretrained=pretrained and weights is None)
        if weights is not None:
            load_weights(network, weights)
        network = TenCrop(network) if ten_crop else network
        network.eval()
        return network
