"""Where the network looks: class activation maps of whole films, and pictures of them."""

import numpy as np
import paddle
from paddle import nn
from PIL import Image, ImageDraw, ImageFont

from model import TenCrop
from runtime.files import UserError

# Of matplotlib, and which part of it, from yellow to red: it shows on white bone as on black air,
# and the colour-blind tell it apart.
COLOURS, LEAST_COLOUR, MOST_COLOUR = "YlOrRd", 0.25, 0.9
CLEAR_BELOW = 1 / 3  # of a map's range: below it the film is left as it is
STRONGEST_TINT = 0.7  # of a colour over the film, where the map is largest
FRAME_COLOUR = "#56B4E9"  # of boxes: neither a grey nor one of those colours


class TenCropMaps(nn.Layer):
    """The class activation maps of the ten crops, each put back where it was cut, and averaged.

    B. Zhou et al., *Learning Deep Features for Discriminative Localization*, CVPR 2016; CheXNet
    shows these maps (arXiv 1711.05225, section 5).

    Args:
        network: a `CheXNet`, or a `CPUPredictor` of one.
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
        check_covers(self.ten_crop, *films.shape[2:])
        features = self.network.features(paddle.concat(self.ten_crop.crops(films)))
        probs = paddle.stack(paddle.split(self.network.classify(features), 10), axis=1)
        crop_maps = paddle.split(self.network.class_maps(features), 10)  # ten of [N, C, h, w]
        maps = join_crops(self.ten_crop, crop_maps, *films.shape[2:])
        return probs.mean(axis=1), maps  # [N, 10, C] -> [N, C]


class CropNetwork(nn.Layer):
    """A network that also says where it looks, of crops that are already cut.

    Args:
        network: a `CheXNet`, or a `CPUPredictor` of one.
    """

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, crops):
        """Return probabilities and class activation maps.

        Args:
            crops: as the network takes them, `[N, 1 or 3, size, size]`.

        Returns:
            float32 `[N, C]` and `[N, C, h, w]`.
        """
        features = self.network.features(crops)
        return self.network.classify(features), self.network.class_maps(features)


class KeepingTenCrop(TenCrop):
    """`TenCrop` that keeps the crops' maps, so that pictures of the films need no second look.

    Args:
        network, size: as for `TenCropMaps`.

    Attributes:
        kept: the maps of the films so far, in their order: for each float32 `[10, C, h, w]`.
        sizes: (height, width) of these films, pixels.
    """

    def __init__(self, network, size=224):
        super().__init__(CropNetwork(network), size)
        self.kept, self.sizes = [], []

    def forward(self, films):
        """Return what `TenCrop` returns."""
        probs, maps = zip(*(self.network(crop) for crop in self.crops(films)), strict=True)
        self.kept += list(paddle.stack(maps, axis=1).numpy())  # ten of [N, C, h, w], by film
        self.sizes += [tuple(films.shape[2:])] * len(films)
        return paddle.stack(probs, axis=1).mean(axis=1)


def look(layer, films):
    """Return what a layer computes of films, as arrays.

    Args:
        layer: a `TenCrop` or a `TenCropMaps`.
        films: uint8 `[N, 1 or 3, H, W]`.

    Returns:
        probs: float32 `[N, C]`.
        maps: float32 `[N, C, H, W]`; None if the layer makes none, or the crops leave out a part of
            such long films.
    """
    if not isinstance(layer, TenCrop) and not covers(layer.ten_crop, *films.shape[2:]):
        layer = layer.ten_crop
    with paddle.no_grad():
        found = layer(paddle.to_tensor(films))
    if isinstance(layer, TenCrop):
        return found.numpy(), None
    return tuple(x.numpy() for x in found)


def covers(ten_crop, height, width):
    """Tell whether a `TenCrop` leaves out no part of a film of so many pixels."""
    size = ten_crop.size
    covered = np.zeros((height, width), bool)
    for top, left in ten_crop.places(height, width):
        covered[top : top + size, left : left + size] = True
    return covered.all()


def check_covers(ten_crop, height, width):
    """Raise UserError if a `TenCrop` leaves out a part of a film of so many pixels."""
    if not covers(ten_crop, height, width):
        raise UserError(
            f"--crop-size: want crops that cover a film of {width} x {height} pixels, got "
            f"{ten_crop.size}; heat maps need a larger one"
        )


def join_crops(ten_crop, crop_maps, height, width):
    """Put the maps of ten crops back where they were cut, and average them.

    A crop's map counts most in its middle and less and less towards its edge, where the network
    saw no surroundings: the weight falls linearly with the distance from the nearest side, across
    and down, and the two are multiplied. With the same weight throughout, each place where a crop
    ends would be a seam.

    Args:
        ten_crop: the `TenCrop` that cut them.
        crop_maps: ten float32 `[N, C, h, w]`, in its order.
        height, width: of the films, pixels.

    Returns:
        float32 `[N, C, height, width]`.
    """
    places, size = ten_crop.places(height, width), ten_crop.size
    weight = _crop_weight(size)
    total = np.zeros((height, width), np.float32)
    for top, left in places:
        total[top : top + size, left : left + size] += weight
    weight = paddle.to_tensor(weight)
    film, mirrored = (
        paddle.add_n(
            [
                _put_back(crop_map, weight, top, left, height, width)
                for crop_map, (top, left) in zip(crop_maps[half], places, strict=True)
            ]
        )
        for half in (slice(0, 5), slice(5, 10))
    )
    # The five places are their own mirror image but for a centre that is off by a pixel.
    return (film + mirrored.flip([3])) / paddle.to_tensor(total + total[:, ::-1])


def _crop_weight(size):
    """Return how much each pixel of a crop counts: float32 `[size, size]`, 1 in the middle."""
    ramp = (size - np.abs(2 * np.arange(size, dtype=np.float32) + 1 - size)) / size
    return np.outer(ramp, ramp)


def _put_back(crop_map, weight, top, left, height, width):
    """Return a crop's map `[N, C, h, w]`, weighted, where it was cut: `[N, C, height, width]`."""
    size = len(weight)
    down, across = (paddle.to_tensor(_stretcher(n, size)) for n in crop_map.shape[2:])
    whole = down @ crop_map @ across.T  # [N, C, h, w] -> [N, C, size, size]
    edges = [left, width - size - left, top, height - size - top]
    return nn.functional.pad(whole * weight, edges)


def _stretcher(values, size):
    """Return what stretches so many values over `size` pixels: float32 `[size, values]`.

    Between two values it goes as 3 t^2 - 2 t^3 does from 0 to 1, which has no kink at them, as the
    straight line has, and passes neither: a kink of several crops in one place looks like an edge.
    """
    place = np.maximum((np.arange(size) + 0.5) * values / size - 0.5, 0)
    low = place.astype(int)
    t = place - low
    share = t * t * (3 - 2 * t)
    weights = np.zeros((size, values), np.float32)
    weights[np.arange(size), low] = 1 - share
    weights[np.arange(size), np.minimum(low + 1, values - 1)] += share
    return weights


def resize_map(activation, width, height):
    """Stretch a map to a film's own pixels, bilinearly: float32 `[h, w]` -> `[height, width]`."""
    return np.asarray(Image.fromarray(activation).resize((width, height), Image.BILINEAR))


def heat_map(film, activation, finding, prob, boxes=(), name=""):
    """Draw a film and, beside it, the film under its map, with lines below that say what it is.

    Args:
        film: uint8 `[H, W]`.
        activation: float `[h, w]`, a map of it at any size; the colours go from its smallest to
            its largest value. The film shows as it is where the map is in its lower third.
        finding: what the map is of.
        prob: its probability.
        boxes: `[K, 4]`: left, top, right and bottom of frames to draw, pixels of the film.
        name: of the film.

    Returns:
        An RGB `PIL.Image`, 2 W wide and, with the lines, higher than H by `caption_height`.
    """
    height, width = film.shape
    activation = resize_map(np.asarray(activation, np.float32), width, height)
    low, high = activation.min(), activation.max()
    picture = Image.new("RGB", (2 * width, height + caption_height(width)), "white")
    picture.paste(Image.fromarray(film), (0, 0))
    for top in range(0, height, 256):  # not at once: a pixel takes a hundred bytes on the way
        rows = slice(top, top + 256)
        strength = activation[rows] - low
        strength = strength / (high - low) if high > low else strength
        grey = np.repeat(film[rows, :, np.newaxis], 3, axis=2)
        tinted = _tinted(grey, strength).round().astype(np.uint8)
        picture.paste(Image.fromarray(tinted), (width, top))
    draw = ImageDraw.Draw(picture)
    for left, top, right, bottom in boxes:
        for shift in (0, width):
            frame = (left + shift, top, right + shift - 1, bottom - 1)
            draw.rectangle(frame, outline=FRAME_COLOUR, width=max(1, width // 160))
    lines = [name, f"{finding}, probability {prob:.3f}", "Not for clinical use"]
    _write_caption(picture, width, lines, np.median(film))
    return picture


def caption_height(width):
    """Return the height of the lines below a picture of a film of this width, pixels."""
    return 4 * _text_size(width)


def _text_size(width):
    return max(6, width // 17)


def _tinted(grey, strength):
    """Return a film `[H, W, 3]` under colours, the more of them the larger `strength` `[H, W]`."""
    colours = colours_of(strength)
    share = np.clip((strength - CLEAR_BELOW) / (1 - CLEAR_BELOW), 0, 1)[:, :, np.newaxis]
    share = STRONGEST_TINT * share
    return grey * (1 - share) + colours * share


def colours_of(strength):
    """Return the colours of strengths from 0 to 1: float `[..., 3]`, from 0 to 255."""
    from matplotlib import colormaps  # here: it takes a while to load

    place = LEAST_COLOUR + (MOST_COLOUR - LEAST_COLOUR) * np.asarray(strength)
    return colormaps[COLOURS](place)[..., :3] * 255


def _write_caption(picture, width, lines, ground):
    """Write below a film and its map: lines of text, and which colour is how much.

    Args:
        ground: grey value that the colours are shown on, as they look on that film.
    """
    size = _text_size(width)
    top = picture.height - caption_height(width)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size)
    words = {"fill": "black", "font": font}
    for n, text in enumerate(filter(None, lines)):
        text = " ".join(text.split())  # a file's name may have a line end
        text = _shortened(text, lambda text: draw.textlength(text, font) <= width - size)
        draw.text((size // 2, top + size * (0.1 + 1.25 * n)), text, **words)
    bar = np.linspace(0, 1, width - size)[np.newaxis].repeat(size, axis=0)
    grey = np.full((*bar.shape, 3), float(ground))
    colours = Image.fromarray(_tinted(grey, bar).round().astype(np.uint8))
    picture.paste(colours, (width + size // 2, top + size // 3))
    ends = {**words, "anchor": "la"}, {**words, "anchor": "ra"}
    draw.text((width + size // 2, top + size * 1.5), "less evidence", **ends[0])
    draw.text((2 * width - size // 2, top + size * 1.5), "more evidence", **ends[1])


def _shortened(text, fits):
    """Return a text, without its middle where it would not fit."""
    kept = text
    while not fits(kept) and len(kept) > 3:
        half = (len(kept) - 2) // 2
        kept = f"{text[:half]}…{text[-half:]}"
    return kept
