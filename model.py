"""CheXNet: DenseNet-121 with a 14-way sigmoid head, ten-crop averaging, and its weight files."""

import os

import numpy as np
import paddle
from paddle import nn

from kernels import densenet, recompute
from runtime.files import UserError, first_line
from weights.weight_files import read_weights, save_state

__all__ = [
    "AutoCast",
    "CheXNet",
    "LogLoss",
    "TenCrop",
    "load_weights",
    "normalize",
    "read_weights",
    "save_state",
]

# Of the ImageNet photographs that the backbone started from, RGB in [0, 1] (torchvision's values).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalize(pixels):
    """Scale pixels to [0, 1] and normalise them channel by channel, as torchvision's transforms do.

    Args:
        pixels: uint8 `[N, 1 or 3, H, W]`; a single channel is taken for all three.

    Returns:
        float32 `[N, 3, H, W]`.
    """
    mean = paddle.to_tensor(IMAGENET_MEAN, "float32").reshape([1, 3, 1, 1])
    std = paddle.to_tensor(IMAGENET_STD, "float32").reshape([1, 3, 1, 1])
    # Divided, not multiplied by the inverse, as Paddle 2.6 does with a number: the last bit counts.
    return (pixels.astype("float32") / paddle.full([1], 255.0) - mean) / std


class _Head(nn.Sequential):
    """Linear and sigmoid, in float32 whatever the precision of the backbone."""

    def forward(self, features):
        if not paddle.in_dynamic_mode():  # being saved for inference, which knows no auto_cast
            return super().forward(features)
        with paddle.amp.auto_cast(enable=False):
            return super().forward(features.astype("float32"))


class CheXNet(nn.Layer):
    """DenseNet-121 (Huang et al. 2017) with a sigmoid for each finding (Rajpurkar et al. 2017).

    Args:
        num_classes: number of findings.
        pretrained: start the backbone from Paddle's ImageNet weights, which it downloads.

    Attributes:
        recomputes: in training, compute a part of the forward pass again in the backward pass,
            instead of keeping it (`kernels.recompute`). oneDNN keeps less by itself.

    Raises:
        UserError: the ImageNet weights cannot be had.
    """

    recomputes = False

    def __init__(self, num_classes=14, pretrained=False):
        super().__init__()
        self.densenet121 = paddle.vision.models.densenet121()
        if pretrained:
            _load_imagenet(self.densenet121)
        features = self.densenet121.out.weight.shape[0]
        self.densenet121.out = _Head(nn.Linear(features, num_classes), nn.Sigmoid())

    def forward(self, images):
        """Return the probability of each finding.

        Args:
            images: float32 `[N, 3, H, W]`, ImageNet-normalised; or uint8 `[N, 1 or 3, H, W]`
                pixels, which are normalised here, on the device they are on.

        Returns:
            float32 `[N, num_classes]`.
        """
        if images.dtype == paddle.uint8:
            images = normalize(images)
        if densenet.can_run(self.densenet121, images):
            return self.classify(densenet.features(self.densenet121, images))
        if self.recomputes and self.training:
            return self.classify(recompute.features(self.densenet121, images))
        return self.densenet121(images)

    def features(self, images):
        """Return the final feature maps, after their ReLU: `[N, 1024, H / 32, W / 32]`.

        Args:
            images: as for `forward`.
        """
        if images.dtype == paddle.uint8:
            images = normalize(images)
        if densenet.can_run(self.densenet121, images):
            return densenet.features(self.densenet121, images)
        backbone = self.densenet121
        maps = backbone.pool2d_max(backbone.conv1_func(images))
        for n, block in enumerate(backbone.dense_block_func_list):
            maps = block(maps)
            if n < len(backbone.transition_func_list):  # none after the last block
                maps = backbone.transition_func_list[n](maps)
        return backbone.batch_norm(maps)

    def classify(self, features):
        """Return the probabilities that `forward` makes of `features`, float32 `[N, C]`."""
        pooled = self.densenet121.pool2d_avg(features)
        return self.densenet121.out(paddle.flatten(pooled, start_axis=1))

    def class_maps(self, features):
        """Weigh feature maps as the head does: the class activation maps of Zhou et al. 2016.

        Their mean over the places, and the head's bias, is the logit.

        Args:
            features: what `features` returned, `[N, 1024, h, w]`.

        Returns:
            float32 `[N, C, h, w]`.
        """
        weight = self.densenet121.out[0].weight  # [1024, C]
        return paddle.einsum("nkhw,kc->nchw", features.astype("float32"), weight)


class AutoCast(nn.Layer):
    """A network whose matrix products are done in half precision, on a GPU that has it.

    Args:
        network: the layer to run.
        dtype: "bfloat16" or "float16".
        level: "O1", or "O2" for a network that `paddle.amp.decorate` has prepared.
    """

    def __init__(self, network, dtype, level="O1"):
        super().__init__()
        self.network = network
        self.dtype, self.level = dtype, level

    def forward(self, images):
        """Return what the network returns."""
        with paddle.amp.auto_cast(dtype=self.dtype, level=self.level):
            return self.network(images)


class TenCrop(nn.Layer):
    """Average a network over ten crops of each film: four corners, centre, and their mirror images.

    The film crosses to the device once, as uint8; cropping happens there.

    Args:
        network: takes float32 `[N, 3, size, size]`, returns probabilities `[N, C]`.
        size: side of a crop, pixels.
    """

    def __init__(self, network, size=224):
        super().__init__()
        self.network = network
        self.size = size

    def places(self, height, width):
        """Return (top, left) of the five crops of a film and of those of its mirror image."""
        bottom, right = height - self.size, width - self.size
        corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)]
        return [*corners, (int(round(bottom / 2)), int(round(right / 2)))]

    def crops(self, films):
        """Return the ten crops, in torchvision's order.

        Args:
            films: uint8 `[N, 1 or 3, H, W]`, H and W at least `size`.

        Returns:
            List of ten float32 `[N, 3, size, size]`, normalised.
        """
        size = self.size
        images = normalize(films)
        return [
            view[:, :, top : top + size, left : left + size]
            for view in (images, images.flip([3]))
            for top, left in self.places(*images.shape[2:])
        ]

    def forward(self, films):
        """Return the mean of the ten probabilities, float32 `[N, C]`, for films as in `crops`."""
        # One crop of all films at a time: a tenth of the memory. Probabilities are averaged, not
        # logits: the reference does, and the ranks differ.
        probs = [self.network(crop) for crop in self.crops(films)]
        return paddle.stack(probs, axis=1).mean(axis=1)  # 10 x [N, C] -> [N, 10, C] -> [N, C]


class LogLoss(nn.Layer):
    """Binary cross-entropy, the mean over the labels that are known; NaN for a NaN probability.

    Paddle's own stops there, on a GPU with the whole process, before anyone can say which step.
    """

    def forward(self, probs, labels):
        """Return the loss, a float32 scalar; 0 where no label is known.

        Args:
            probs: float32 `[N, C]`.
            labels: float32 `[N, C]`, 0, 1 or NaN for unknown.
        """
        is_nan, known = paddle.isnan(probs), paddle.logical_not(paddle.isnan(labels))
        # 0 against 0 has no loss and no gradient.
        zeros = paddle.zeros_like(probs)
        loss = nn.functional.binary_cross_entropy(
            paddle.where(paddle.logical_and(known, paddle.logical_not(is_nan)), probs, zeros),
            paddle.where(known, labels, zeros),
        )
        # A mean over all becomes one over the known. Times 1 where all are: not a bit changes.
        loss = loss * (labels.size / known.astype("float32").sum().clip(min=1))
        return paddle.where(is_nan.any(), paddle.full_like(loss, float("nan")), loss)


def _load_imagenet(backbone):
    """Load Paddle's ImageNet weights, downloaded unless they are there already.

    Only what a download can fail with is caught: an error of the device is not one.
    """
    address, md5 = paddle.vision.models.densenet.model_urls["densenet121"]
    try:
        path = paddle.utils.download.get_weights_path_from_url(address, md5)
        state = paddle.load(path, return_numpy=True)
    except (OSError, RuntimeError) as error:
        path = os.path.join(paddle.utils.download.WEIGHTS_HOME, os.path.basename(address))
        wrong = f": {path} has another MD5 than Paddle's file" if os.path.exists(path) else ""
        raise UserError(
            f"--pretrained imagenet: want Paddle's ImageNet weights, could not download them "
            f"({first_line(error)}{wrong}); see docs/training.md for doing it "
            "by hand, or start elsewhere with --weights FILE or --pretrained none"
        ) from None
    backbone.set_state_dict(state)


def load_weights(network, path):
    """Load weights into a network, strictly; code hidden in the file does not run.

    Args:
        network: the layer to fill.
        path: `.pdparams` or `.safetensors` file with the names of the network's state dict.

    Raises:
        UserError: no such file, one that cannot be read safely, or a tensor that is missing, left
            over, or of another shape than the network's. The network is unchanged then.
    """
    state = read_weights(path)
    wanted = network.state_dict()
    remedy = "convert it with convert_torch_weights.py, or give weights of this network"
    for name, tensor in wanted.items():
        if name not in state:
            raise UserError(f"{path}: no tensor {name} in it; {remedy}")
        if list(state[name].shape) != list(tensor.shape):
            raise UserError(
                f"{path}: want {name} of shape {list(tensor.shape)}, "
                f"got {list(state[name].shape)}; {remedy}"
            )
    for name in state:
        if name not in wanted:
            raise UserError(f"{path}: {name} is no tensor of the network; {remedy}")
    network.set_state_dict({name: array.astype(np.float32) for name, array in state.items()})
