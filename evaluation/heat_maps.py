"""Which heat maps an evaluation needs: those that boxes score, and those that the page shows."""

from typing import NamedTuple

import numpy as np
import paddle

from dataset import CLASS_NAMES, read_label_list
from evaluation.measures import measure_localization
from inference.activation_maps import TenCropMaps, resize_map
from nih.annotations import BOX_GRID, read_boxes
from runtime.files import UserError
from runtime.progress import progress_bar

EXAMPLE_SIDE = 320  # of a film on the page, pixels
EXAMPLES = {
    "right": "Correct: of each class, the likeliest film that is labelled with it",
    "wrong": "Confidently wrong: of each class, the likeliest film that is not",
    "boxed": "Boxed: of each class, the likeliest film on which a radiologist boxed it",
}


class Example(NamedTuple):
    """A film to show, with its heat map for a class."""

    kind: str  # of `EXAMPLES`
    film: int  # index
    c: int  # index of the class
    pixels: np.ndarray  # uint8 [H, W]
    activation: np.ndarray  # float [h, w]
    boxes: list  # of (left, top, right, bottom) of the class, pixels of the film


def choose_examples(labels, probs, boxed):
    """Choose films to show: for each of `EXAMPLES`, of each class the likeliest film of that kind.

    Args:
        labels: `[N, 14]`, 0, 1 or NaN for unknown, which is neither right nor wrong.
        probs: float `[N, 14]`.
        boxed: list of (index of a film, index of a class) that a radiologist boxed.

    Returns:
        list of (key of `EXAMPLES`, index of a film, index of a class).
    """
    has_box = np.zeros(labels.shape, bool)
    for film, c in boxed:
        has_box[film, c] = True
    of_kind = {"right": labels == 1, "wrong": labels == 0, "boxed": has_box}
    return [
        (kind, int(films[np.argmax(probs[films, c])]), c)
        for kind, candidates in of_kind.items()
        for c in range(labels.shape[1])
        if len(films := np.flatnonzero(candidates[:, c]))
    ]


class BoxedFilms:
    """The boxes that are on listed films; a network was trained on the others.

    Args:
        path: NIH's BBox_List_2017.csv.
        test_list: the label list.

    Attributes:
        boxes: list of `annotations.Box`.
        of_file: how many boxes the file has.
        indices: for each box (index of its film in the list, index of its class).

    Raises:
        UserError: the file is broken, or has no box on these films.
    """

    def __init__(self, path, test_list):
        every = read_boxes(path)
        place_of = {name: n for n, name in enumerate(read_label_list(test_list)[0])}
        self.boxes = [box for box in every if box.film in place_of]
        self.of_file = len(every)
        if not self.boxes:
            raise UserError(
                f"{path}: none of its {len(every)} boxes is on a film of {test_list}; "
                "give another list"
            )
        self.indices = [(place_of[box.film], CLASS_NAMES.index(box.finding)) for box in self.boxes]

    def measure(self, maps):
        """Return how well maps, as `draw_maps` returns them, find the boxes, class by class."""
        drawn = (resize_map(maps[index], BOX_GRID, BOX_GRID) for index in self.indices)
        return measure_localization(self.boxes, drawn)

    def frames(self):
        """Return dict from (film, class) to its boxes, pixels of a film of `EXAMPLE_SIDE`."""
        frames = {}
        for index, box in zip(self.indices, self.boxes, strict=True):
            frame = np.array([box.left, box.top, box.right, box.bottom]) * EXAMPLE_SIDE / BOX_GRID
            frames.setdefault(index, []).append(frame)
        return frames


def draw_maps(network, films, wanted, crop_size):
    """Return ten-crop class activation maps.

    Args:
        network: a `CheXNet`, or a `CPUPredictor` of one.
        films: a `ChestXray14`.
        wanted: list of (index of a film, index of a class).
        crop_size: side of a crop, pixels.

    Returns:
        dict from each of `wanted` to its map, float32 `[H, W]`, for films as `films` resizes them.
    """
    maps, layer = {}, TenCropMaps(network, crop_size)
    layer.eval()
    wanted_of = {}
    for film, c in wanted:
        wanted_of.setdefault(film, set()).add(c)
    with paddle.no_grad():
        for film, classes in progress_bar(wanted_of.items(), desc="heat maps", unit="film"):
            pixels = films.read_file(film, films.resize)
            found = layer(paddle.to_tensor(pixels[np.newaxis]))[1].numpy()[0]  # [C, H, W]
            # A view would keep the other classes' maps as well.
            maps.update({(film, c): found[c].copy() for c in classes})
    return maps


def draw_examples(network, films, probs, crop_size, boxed=None, maps=()):
    """Return what the report shows.

    Args:
        network, films, crop_size: as for `draw_maps`.
        probs: float `[N, 14]`.
        boxed: `BoxedFilms`, or None.
        maps: those drawn already, a dict as `draw_maps` returns.

    Returns:
        list of `Example`.
    """
    frames = boxed.frames() if boxed else {}
    chosen = choose_examples(films.labels, probs, list(frames))
    maps = dict(maps)
    left = [(film, c) for _, film, c in chosen if (film, c) not in maps]
    maps |= draw_maps(network, films, left, crop_size)
    return [
        Example(
            *(kind, film, c),
            pixels=films.read_file(film, EXAMPLE_SIDE)[0],
            activation=maps[film, c],
            boxes=frames.get((film, c), []),
        )
        for kind, film, c in chosen
    ]
