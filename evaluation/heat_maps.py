"""The heat maps that an evaluation needs: of films with boxes, and of films that the page shows."""

import posixpath
from typing import NamedTuple

import numpy as np
import paddle

from evaluation.localization import measure_localization
from films.label_lists import CLASS_NAMES
from inference.activation_maps import TenCropMaps, check_covers, join_crops, resize_map
from public_data.nih_tables import BOX_GRID, read_boxes
from runtime.files import UserError
from runtime.progress import progress_bar

EXAMPLE_SIDE = 320  # of a film on the page, pixels
LEAST_MAP_SIDE = 4  # values along a map's side; of fewer nobody can say where
EXAMPLE_KINDS = {
    "with": "Labelled with the finding",
    "without": "Not labelled with the finding",
    "boxed": "Boxed by a radiologist",
}


class Example(NamedTuple):
    """A film to show, with its heat map for a class."""

    kind: str  # of `EXAMPLE_KINDS`
    film: int  # index
    c: int  # index of the class
    pixels: np.ndarray  # uint8 [H, W]
    activation: np.ndarray  # float [h, w]
    boxes: list  # of (left, top, right, bottom) of the class, pixels of the film


def choose_examples(labels, probs, boxed):
    """Choose films to show: of each kind and each class the likeliest film.

    A film is shown once a kind: the class with the fewest films takes its likeliest, the next one
    its likeliest of those left, and a class without any left is left out.

    Args:
        labels: `[N, C]`, 0, 1 or NaN for unknown, which is neither right nor wrong.
        probs: float `[N, C]`.
        boxed: list of (index of a film, index of a class) that a radiologist boxed.

    Returns:
        list of (key of `EXAMPLE_KINDS`, index of a film, of a class), by kind, then by `rank`.
    """
    has_box = np.zeros(labels.shape, bool)
    for film, c in boxed:
        has_box[film, c] = True
    chosen = []
    for kind, of_kind in (("with", labels == 1), ("without", labels == 0), ("boxed", has_box)):
        left, taken = of_kind.copy(), []
        for c in np.argsort(of_kind.sum(axis=0), kind="stable"):
            if len(films := np.flatnonzero(left[:, c])):
                film = films[np.argmax(probs[films, c])]
                left[film] = False
                taken.append((kind, int(film), int(c)))
        chosen += sorted(taken, key=lambda each: (rank(probs, *each[1:]), each[2]))
    return chosen


def rank(probs, film, c):
    """Return a film's place among all by its probability of class c: 1 is the likeliest."""
    return int((probs[:, c] > probs[film, c]).sum()) + 1


def too_coarse(crop_size):
    """Say why maps of crops of this size, pixels, are not worth drawing; None if they are."""
    side = crop_size // 32  # what DenseNet-121 leaves of a crop
    if side >= LEAST_MAP_SIDE:
        return None
    return (
        f"at crops of {crop_size} pixels a map has {side} x {side} values, too few to say where; "
        f"it takes {LEAST_MAP_SIDE} x {LEAST_MAP_SIDE}, crops of {32 * LEAST_MAP_SIDE} pixels"
    )


class BoxedFilms:
    """The boxes that are on listed films; a network was trained on the others.

    Args:
        path: NIH's BBox_List_2017.csv.
        names: of the listed films.

    Attributes:
        path: of the file.
        boxes: list of `nih_tables.Box`.
        of_file: how many boxes the file has.
        indices: for each box (index of its film in the list, index of its class).

    Raises:
        UserError: the file is broken, or has no box on these films.
    """

    def __init__(self, path, names):
        every, self.path = read_boxes(path), path
        # A list may name folders, NIH's file does not.
        place_of = {posixpath.basename(name): n for n, name in enumerate(names)}
        self.boxes = [box for box in every if box.film in place_of]
        self.of_file = len(every)
        if not self.boxes:
            raise UserError(
                f"{path}: none of its {len(every)} boxes is on a film of the test list; "
                "give another list"
            )
        self.indices = [(place_of[box.film], CLASS_NAMES.index(box.finding)) for box in self.boxes]

    def measure(self, maps):
        """Return how well maps, as `MapSource.of` returns them, find the boxes, class by class."""
        drawn = (resize_map(maps[index], BOX_GRID, BOX_GRID) for index in self.indices)
        return measure_localization(self.boxes, drawn)

    def frames(self):
        """Return dict from (film, class) to its boxes, pixels of a film of `EXAMPLE_SIDE`."""
        frames = {}
        for index, box in zip(self.indices, self.boxes, strict=True):
            frame = np.array([box.left, box.top, box.right, box.bottom]) * EXAMPLE_SIDE / BOX_GRID
            frames.setdefault(index, []).append(frame)
        return frames


class MapSource:
    """Ten-crop class activation maps of listed films, each drawn once, when it is asked for.

    Args:
        network: a `CheXNet`, or a `CPUPredictor` of one.
        films: a `ChestXray14`.
        crop_size: side of a crop, pixels.
        keeping: the `KeepingTenCrop` that has seen all films; without it the network looks at films
            again.
    """

    def __init__(self, network, films, crop_size, keeping=None):
        self.layer = TenCropMaps(network, crop_size)
        self.layer.eval()
        self.films, self.keeping, self.drawn = films, keeping, {}

    def of(self, wanted):
        """Return a dict with each of `wanted`, a list of (index of a film, index of a class).

        A map is float32 `[H, W]`, for films as `films` resizes them.
        """
        classes_of = {}
        for film, c in wanted:
            if (film, c) not in self.drawn:
                classes_of.setdefault(film, set()).add(c)
        with paddle.no_grad():
            for film, classes in progress_bar(classes_of.items(), desc="heat maps", unit="film"):
                classes = sorted(classes)
                maps = self._draw(film, classes)
                self.drawn |= {(film, c): each for c, each in zip(classes, maps, strict=True)}
        return {index: self.drawn[index] for index in wanted}

    def _draw(self, film, classes):
        """Return the maps of a film of some classes, float32 `[K, H, W]`."""
        if self.keeping is None:
            pixels = self.films.read_file(film, self.films.resize)
            # Indexing with a list copies: a view would keep the other classes' maps as well.
            return self.layer(paddle.to_tensor(pixels[np.newaxis]))[1].numpy()[0][classes]
        kept, size = self.keeping.kept[film], self.keeping.sizes[film]
        check_covers(self.layer.ten_crop, *size)
        crop_maps = [paddle.to_tensor(each[np.newaxis, classes]) for each in kept]
        return join_crops(self.layer.ten_crop, crop_maps, *size).numpy()[0]


def draw_examples(maps, films, probs, boxed=None):
    """Return what the report shows.

    Args:
        maps: a `MapSource`.
        films: a `ChestXray14`.
        probs: float `[N, C]`.
        boxed: `BoxedFilms`, or None.

    Returns:
        list of `Example`.
    """
    frames = boxed.frames() if boxed else {}
    chosen = choose_examples(films.labels, probs, list(frames))
    drawn = maps.of([(film, c) for _, film, c in chosen])
    # Once a film, though several sections may show it.
    shown = {film: films.read_file(film, EXAMPLE_SIDE)[0] for _, film, _ in chosen}
    return [
        Example(
            kind,
            film,
            c,
            pixels=shown[film],
            activation=drawn[film, c],
            boxes=frames.get((film, c), []),
        )
        for kind, film, c in chosen
    ]
