"""Where the network looks: class activation maps of whole films, and pictures of them."""

import numpy as np
import paddle
from paddle import nn
from PIL import Image, ImageDraw

from model import TenCrop
from runtime.files import UserError

COLOURS = "inferno"  # of matplotlib: even in lightness and told apart by the colour-blind
FRAME = "#56B4E9"  # of boxes: neither a grey nor one of those colours


class TenCropMaps(nn.Layer):
    """The class activation maps of the ten crops, each put back where it was cut, and averaged.

    B. Zhou et al., *Learning Deep Features for Discriminative Localization*, CVPR 2016; CheXNet
    shows these maps (arXiv 1711.05225, section 5).

    Args:
        network: a `CheXNet`, or an `CPUPredictor` of one.
        size: side of a crop, pixels.
    """

    def __init__(self, network, size=224):
        super().__init__()
        self.network = network
        self.ten_crop = TenCrop(network, size)

    def forward(self, films):
        """Return probabilities and maps.

        Args:
            films: uint8 `[N, 1 or 3, H, W]`.

        Returns:
            probs: float32 `[N, C]`, those of `TenCrop`.
            maps: float32 `[N, C, H, W]`, in the units of the logit.

        Raises:
            UserError: the crops leave a part of the film out.
        """
        size = self.ten_crop.size
        height, width = films.shape[2:]
        places = self.ten_crop.places(height, width)
        covered = np.zeros((height, width), np.float32)
        for top, left in places:
            covered[top : top + size, left : left + size] += 1
        if not covered.all():
            raise UserError(
                f"--crop-size: want crops that cover a film of {width} x {height} pixels, got "
                f"{size}; heat maps need a larger one"
            )
        features = self.network.features(paddle.concat(self.ten_crop.crops(films)))
        probs = paddle.stack(paddle.split(self.network.classify(features), 10), axis=1)
        crop_maps = paddle.split(
            nn.functional.interpolate(
                self.network.class_maps(features), size=[size, size], mode="bilinear"
            ),
            10,
        )  # ten of [N, C, size, size]
        halves = []  # of the film and of its mirror image
        for half in (crop_maps[:5], crop_maps[5:]):
            padded = [
                nn.functional.pad(crop_map, [left, width - size - left, top, height - size - top])
                for crop_map, (top, left) in zip(half, places, strict=True)
            ]
            halves.append(paddle.add_n(padded))
        maps = halves[0] + halves[1].flip([3])
        # The five places are their own mirror image but for a centre that is off by a pixel.
        maps = maps / paddle.to_tensor(covered + covered[:, ::-1])
        return probs.mean(axis=1), maps  # [N, 10, C] -> [N, C]


def resize_map(activation, width, height):
    """Stretch a map to a film's own pixels, bilinearly: float32 `[h, w]` -> `[height, width]`."""
    return np.asarray(Image.fromarray(activation).resize((width, height), Image.BILINEAR))


def heat_map(film, activation, boxes=()):
    """Draw a film and, beside it, the film under its map.

    Args:
        film: uint8 `[H, W]`.
        activation: float `[h, w]`, a map of it at any size; the colours go from its smallest to
            its largest value.
        boxes: `[K, 4]`: left, top, right and bottom of frames to draw, pixels of the film.

    Returns:
        An RGB `PIL.Image` of 2 W x H pixels.
    """
    from matplotlib import colormaps  # here: it takes a while to load

    height, width = film.shape
    activation = resize_map(np.asarray(activation, np.float32), width, height)
    low, high = activation.min(), activation.max()
    both = np.empty((height, 2 * width, 3), np.uint8)
    both[:, :width] = film[:, :, np.newaxis]
    for top in range(0, height, 256):  # not at once: a pixel takes a hundred bytes on the way
        rows = slice(top, top + 256)
        strength = activation[rows] - low
        strength = strength / (high - low) if high > low else strength
        colours = colormaps[COLOURS](strength)[:, :, :3] * 255
        # The more it counts, the more of its colour; the film is dimmed, or its white drowns it.
        share = 0.8 * strength[:, :, np.newaxis]
        mixed = 0.7 * film[rows, :, np.newaxis] * (1 - share) + colours * share
        both[rows, width:] = mixed.round()
    picture = Image.fromarray(both)
    draw = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        for shift in (0, width):
            frame = (left + shift, top, right + shift - 1, bottom - 1)
            draw.rectangle(frame, outline=FRAME, width=max(1, width // 160))
    return picture
