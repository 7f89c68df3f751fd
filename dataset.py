"""ChestX-ray14 as a `paddle.io.Dataset`, and the transforms between a film and the network."""

import numpy as np
import paddle

# Also names of this module: what a script of one's own needs of label lists and films.
from films.film_cache import FilmCache
from films.film_notes import FilmNotes
from films.film_paths import find_films
from films.film_pixels import AS_STORED, read_film, read_film_with_facts
from films.label_lists import CLASS_NAMES, LabelList, read_label_list, read_labels

__all__ = [
    "CLASS_NAMES",
    "CenterCrop",
    "ChestXray14",
    "RandomCropFlip",
    "find_films",
    "read_film",
    "read_label_list",
    "read_labels",
]


class CenterCrop:
    """Cut the middle `size` x `size` pixels: the validation transform."""

    draws = 0

    def __init__(self, size=224):
        self.size = size

    def __call__(self, film, draws):
        # round() as torchvision's center_crop has it.
        top, left = (int(round((side - self.size) / 2)) for side in film.shape[1:])
        return film[:, top : top + self.size, left : left + self.size]


class RandomCropFlip:
    """Cut `size` x `size` pixels anywhere and mirror half of the films: the training transform."""

    draws = 3

    def __init__(self, size=224):
        self.size = size

    def __call__(self, film, draws):
        (_, height, width), size = film.shape, self.size
        top, left = int(draws[0] * (height - size + 1)), int(draws[1] * (width - size + 1))
        film = film[:, top : top + size, left : left + size]
        return film[:, :, ::-1] if draws[2] < 0.5 else film


class ChestXray14(paddle.io.Dataset):
    """Films and labels of one list, from the cache where there is one.

    Args:
        image_dir: the data folder (see `find_films`).
        label_list: path of the list (see `read_labels`), or a `LabelList`.
        transform: called with a film, uint8 `[1, H, W]`, and as many numbers drawn from [0, 1) as
            its `draws` says; returns the film to give. None: the whole film, which `TenCrop` takes.
        resize: length of the short side of a film, pixels.
        seed: with `epoch` and a film's index, all that those numbers depend on: not on which
            worker process reads the film, nor on what was read before.
        reading: how values of more than 8 bits are read.

    Attributes:
        listed: the `LabelList`.
        names, labels: of it.
        epoch: counts from 0; set it before each pass over the data.
        source: where films are read from, in words.
        notes: the `FilmNotes` of films that were read while `is_noting`, or of those in the cache.
    """

    def __init__(
        self, image_dir, label_list, transform=None, resize=256, seed=0, reading=AS_STORED
    ):
        super().__init__()
        is_read = isinstance(label_list, LabelList)
        self.listed = label_list if is_read else read_labels(label_list)
        self.names, self.labels, _ = self.listed
        self.paths = find_films(image_dir, self.names)
        self.transform = transform
        self.resize = resize
        self.seed = seed
        self.reading = reading
        self.epoch = 0  # draws too
        cache = FilmCache(image_dir, resize)
        self._rows, reason = cache.rows(self.names, self.paths, reading)
        self._films = cache.films
        self.source = f"the cache {cache.folder}"
        self.is_noting = self._rows is None
        self.notes = FilmNotes() if self.is_noting else cache.notes(self.names)
        if self._rows is None:
            self.source = "their files"
            if reason:
                self.source += f" (the cache {cache.folder} is not used: {reason})"

    @property
    def epoch(self):
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._epoch = epoch
        # For all films at once: a generator for each would take longer than the film.
        shape = len(self.names), getattr(self.transform, "draws", 0)
        self._draws = np.random.default_rng((self.seed, epoch)).random(shape)

    def read_file(self, index, side):
        """Return a film from its file, not the cache, with a short side of `side` pixels."""
        return read_film(self.paths[index], side, reading=self.reading)

    def __getitem__(self, index):
        """Return film uint8 `[1, H, W]` and labels float32 `[C]`, NumPy arrays; NaN: unknown."""
        if self._rows is None:
            film, facts = read_film_with_facts(self.paths[index], self.resize, reading=self.reading)
            if self.is_noting:
                self.notes.add(self.names[index], film, facts)
        else:
            film = self._films[self._rows[index]][np.newaxis]
        if self.transform is not None:
            film = self.transform(film, self._draws[index])
        return film, self.labels[index].astype(np.float32)

    def __len__(self):
        return len(self.names)
