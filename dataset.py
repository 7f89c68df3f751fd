"""NIH ChestX-ray14: label lists, films and the transforms between a file and the network."""

import contextlib
import functools
import json
import math
import os
import re
import sys
import weakref
from typing import NamedTuple

import numpy as np
import paddle
from PIL import Image, UnidentifiedImageError

from runtime.devices import print_once
from runtime.files import UserError, first_line
from runtime.film_files import AS_STORED, read_grey
from runtime.label_table import FILM, PATIENT, read_label_table

# The order of the flags in the label lists and of the network's outputs.
CLASS_NAMES = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)


class LabelList(NamedTuple):
    """What a label list says of N films.

    Attributes:
        names: list of file names; those of a CSV file may have folders.
        labels: `[N, 14]`, in the order of `CLASS_NAMES`: uint8 of 0 and 1, or float32 with NaN
            where any label is unknown. What forgets to leave these out becomes NaN, and is seen.
        patients: list of texts, the patient of each film.
    """

    names: list
    labels: np.ndarray
    patients: list


def read_label_list(path):
    """Return names and labels of a label list (see `read_labels`)."""
    names, labels, _ = read_labels(path)
    return names, labels


def read_labels(path):
    """Read a label list: one film a line, its file name and 14 flags of 0 or 1; or a CSV file.

    A CSV file has a header with "Image Index"; docs/data.md describes it.

    Args:
        path: text file, UTF-8; a byte-order mark and Windows line ends are accepted.

    Returns:
        a `LabelList`.

    Raises:
        UserError: naming the file and the line that is not as it should be.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except FileNotFoundError:
        raise UserError(
            f"{path}: want a label list, got no such file; fetch the lists with prepare_data.py "
            "download, or check the path"
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: want a text file, got bytes that are not UTF-8 at {error.start}; "
            "give a label list"
        ) from None
    if FILM in text.partition("\n")[0]:
        names, patients, labels = read_label_table(path, text, CLASS_NAMES)
        labels = np.array(labels, np.float32)
        labels = labels if np.isnan(labels).any() else labels.astype(np.uint8)
        return LabelList(names, labels, patients or _patients_by_name(path, names))
    names, labels = _read_flags(path, text.splitlines())
    return LabelList(names, labels, [patient(name) for name in names])


def _read_flags(path, lines):
    """Return names and labels uint8 `[N, 14]` of lines with a name and 14 flags."""
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise UserError(f"{path}: want a line for each film, got an empty file; check the download")

    names, labels, line_of = [], np.empty((len(lines), len(CLASS_NAMES)), np.uint8), {}
    for row, line in enumerate(lines):
        name, *flags = line.split() or [""]
        if len(flags) != len(CLASS_NAMES) or not {"0", "1"}.issuperset(flags):
            header = f", or a header with {FILM!r} (CSV)" if not row else ""
            raise UserError(
                f"{path}:{row + 1}: want a file name and 14 flags of 0 or 1{header}, got "
                f"{line[:120]!r}; correct the line"
            )
        if name != os.path.basename(name) or "\0" in name or name in (".", ".."):
            raise UserError(
                f"{path}:{row + 1}: want the bare name of a film, got {name[:120]!r}; "
                "films are looked up by name below the data folder"
            )
        if line_of.setdefault(name, row) != row:
            raise UserError(
                f"{path}:{row + 1}: want each film once, got {name} again "
                f"(first on line {line_of[name] + 1}); remove one of the two"
            )
        names.append(name)
        labels[row] = [flag == "1" for flag in flags]
    return names, labels


def patient(name):
    """Return the patient of a film, by NIH's naming: "00000013" of "00000013_005.png"."""
    return os.path.splitext(os.path.basename(name))[0].split("_")[0]


def is_nih_name(name):
    """Tell whether a film is named as NIH names its own: "00000013_005.png"."""
    return re.fullmatch(r"\d{8}_\d{3}\.\w+", os.path.basename(name)) is not None


def films_shared(listed, other):
    """Return the films of a `LabelList` whose patient has films in another list too.

    The two may tell patients apart differently: by a column, by NIH's names, or each film is its
    own, and then its name is the patient's.

    Args:
        listed, other: `LabelList`s.
    """
    theirs = {*other.patients, *map(_nih_patient, other.names)} - {None}
    names = {*other.names}
    return [
        name
        for name, number in zip(listed.names, listed.patients, strict=True)
        if not theirs.isdisjoint({name, number, _nih_patient(name)} - {None})
        or (number == name and name in names)
    ]


def _nih_patient(name):
    return patient(name) if is_nih_name(name) else None


def _patients_by_name(path, names):
    """Return patients of a list that does not name them: by NIH's naming, or each film its own."""
    own = sum(not is_nih_name(name) for name in names)
    if own:
        _note_own_patients(path, own, len(names))
    return [patient(name) if is_nih_name(name) else name for name in names]


@functools.cache  # said once, however often a list is read
def _note_own_patients(path, own, count):
    print_once(
        f"note: {path} has no column {PATIENT!r}, and {own:,} of {count:,} names are not NIH's "
        "(00000001_000.png): each of these films counts as a patient of its own",
        file=sys.stderr,
    )


def find_films(data_dir, names):
    """Find films below a data folder, in any of the layouts that NIH's archives unpack to.

    Args:
        data_dir: folder with the films in `images/`, in `images_0NN/images/`, or directly in it.
        names: as in a label list (see `locate_films`).

    Returns:
        List of paths, in the order of `names`.

    Raises:
        UserError: the folder or a film is missing.
    """
    paths = locate_films(data_dir, names)
    missing = [name for name in names if name not in paths]
    if missing:
        raise UserError(
            f"{os.path.join(data_dir, 'images', missing[0])}: want a film, got no such file "
            f"({len(missing)} of {len(names)} listed films are missing); "
            "complete the download or shorten the list"
        )
    return [paths[name] for name in names]


def locate_films(data_dir, names):
    """Return which of some films are in a data folder: dict from name to path.

    Args:
        data_dir: the data folder.
        names: bare, and looked up in all of its film folders (see `list_films`); or with folders,
            and then relative to the data folder or, if there is none, to its `images/`.

    Raises:
        UserError: the folder is missing.
    """
    bare = list_films(data_dir)
    parents = (data_dir, os.path.join(data_dir, "images"))
    paths = {}
    for name in names:
        if "/" in name:
            candidates = (os.path.join(parent, name) for parent in parents)
            path = next(filter(os.path.isfile, candidates), None)
        else:
            path = bare.get(name)
        if path is not None:
            paths[name] = path
    return paths


def list_films(data_dir):
    """Return all files in a data folder's film folders: dict from name to path (see `find_films`).

    Raises:
        UserError: the folder is missing.
    """
    if not os.path.isdir(data_dir):
        raise UserError(
            f"{data_dir}: want the folder of the films, got nothing there; give it with --data-dir"
        )
    folders = [data_dir]
    for parent in (data_dir, os.path.join(data_dir, "images")):
        if os.path.isdir(parent):
            parts = sorted(entry for entry in os.listdir(parent) if entry.startswith("images"))
            parts = [part for part in parts if not part.endswith(".tmp")]  # half unpacked
            folders += [os.path.join(parent, part) for part in parts]
            folders += [os.path.join(parent, part, "images") for part in parts]
    paths = {}
    for folder in filter(os.path.isdir, folders):
        for entry in os.listdir(folder):
            paths.setdefault(entry, os.path.join(folder, entry))
    return paths


def read_film(path, resize=256, name=None, reading=AS_STORED):
    """Read a film as PIL's `convert("RGB")` and bilinear resize of the short side do, one channel.

    The three channels of a film are equal, and resizing the grey plane alone gives the same bytes.

    Args:
        path: a PNG, JPEG, TIFF or DICOM file (see `runtime.film_files`), grey or in colours with
            equal channels; or one that is open for reading bytes.
        resize: length of the short side, pixels; None: as it is.
        name: what to call it in messages, if not its path.
        reading: how values of more than 8 bits are read.

    Returns:
        uint8 `[1, H, W]`.

    Raises:
        UserError: the file is missing, broken, no film, or not grey.
    """
    name = name or path
    try:
        with contextlib.nullcontext(path) if hasattr(path, "read") else open(path, "rb") as file:
            grey = read_grey(file, name, reading)
    except FileNotFoundError:
        raise UserError(f"{name}: want a film, got no such file; check the path") from None
    except PermissionError:
        raise UserError(f"{name}: want a film, got permission denied; chmod +r it") from None
    except IsADirectoryError:
        raise UserError(f"{name}: want a film, got a folder; give the files in it") from None
    except UnidentifiedImageError:
        raise UserError(
            f"{name}: want a complete PNG, JPEG, TIFF or DICOM film, got a file that does not "
            "decode as any; convert it to PNG, or download it again if it should be one"
        ) from None
    except UserError:
        raise
    except Exception as error:  # PIL tells a truncated or foreign file by nearly any type
        raise UserError(
            f"{name}: want a complete PNG, JPEG or TIFF film, got a file that does not decode "
            f"({first_line(error)}); download it again"
        ) from None
    width, height = grey.size
    short, long = min(grey.size), max(grey.size)
    if resize and short != resize:
        # torchvision's Resize: the long side is cut, not rounded, to a whole number.
        long = int(resize * long / short)
        grey = grey.resize((resize, long) if width <= height else (long, resize), Image.BILINEAR)
    return np.asarray(grey)[np.newaxis]  # [H, W] -> [1, H, W]


class CenterCrop:
    """Cut the middle `size` x `size` pixels: the validation transform."""

    def __init__(self, size=224):
        self.size = size

    def __call__(self, film, draws):
        # round() as torchvision's center_crop has it.
        top, left = (int(round((side - self.size) / 2)) for side in film.shape[1:])
        return film[:, top : top + self.size, left : left + self.size]


class RandomCropFlip:
    """Cut `size` x `size` pixels anywhere and mirror half of the films: the training transform."""

    def __init__(self, size=224):
        self.size = size

    def __call__(self, film, draws):
        (_, height, width), size = film.shape, self.size
        top, left = int(draws[0] * (height - size + 1)), int(draws[1] * (width - size + 1))
        film = film[:, top : top + size, left : left + size]
        return film[:, :, ::-1] if draws[2] < 0.5 else film


class FilmRows:
    """The films of a films.npy, uint8 `[N, 256, 256]`, each read when it is asked for.

    A memory map is no faster, and all films that a process has touched count as its memory. The
    file stays open: a cache that is made again in its place does not change the films of this one.

    Args:
        path: of films.npy.

    Raises:
        ValueError: it is not complete.
    """

    def __init__(self, path):
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        np.lib.format.read_magic(self._file)
        (count, *self._shape), _, _ = np.lib.format.read_array_header_1_0(self._file)
        self._start, self._size = self._file.tell(), math.prod(self._shape)
        if os.path.getsize(path) != self._start + count * self._size:
            raise ValueError(f"{path} does not hold {count} films")

    def __getitem__(self, row):
        """Return a film, uint8 `[256, 256]`."""
        place = self._start + int(row) * self._size
        if hasattr(os, "pread"):  # worker processes share the file's position, so it is not used
            film = os.pread(self._file.fileno(), self._size, place)
        else:  # Windows: no worker processes
            self._file.seek(place)
            film = self._file.read(self._size)
        return np.frombuffer(film, np.uint8).reshape(self._shape)


class FilmCache:
    """Resized films that `prepare_data.py cache` wrote once: `<data folder>/cache_256/`.

    `films.npy` has the films, a row each; `index.json` says which film is in which row and what its
    file was like. It is written last: a folder with an index is a complete cache.

    Args:
        data_dir: the data folder.
        resize: side of the films, pixels.

    Attributes:
        folder: where the cache is, or would be.
        index: what index.json holds, or None where there is no cache.
        films: `FilmRows`, or None.
    """

    VERSION = 1  # of the cache's form; another one is out of date

    def __init__(self, data_dir, resize=256):
        self.folder = os.path.join(data_dir, f"cache_{resize}")
        self.index, self.films = None, None
        with contextlib.suppress(FileNotFoundError, ValueError):
            with open(os.path.join(self.folder, "index.json"), encoding="utf-8") as file:
                index = json.load(file)
            self.films = FilmRows(os.path.join(self.folder, "films.npy"))
            self.index = index

    def rows(self, names, paths, reading=AS_STORED):
        """Find films in the cache, which holds those that are found by their bare name.

        Args:
            names: of the films wanted; one with a folder is never in the cache, where another film
                may have its bare name.
            paths: of their files.
            reading: how they are wanted.

        Returns:
            rows: int64 `[len(paths)]`, rows of `films`; None where the cache cannot be used.
            reason: why it cannot, or "".
        """
        if self.index is None:
            return None, "no such cache, or an incomplete one"
        if self.index["version"] != self.VERSION:
            return None, "another version of this project wrote it"
        if self.index.get("window") != reading.window:
            return None, "it was made with another --window"
        if self.index.get("any_modality") and not reading.any_modality:
            return None, "it was made with --any-modality"
        row_of = {name: row for row, (name, _, _) in enumerate(self.index["films"])}
        rows = np.empty(len(paths), np.int64)
        for n, (name, path) in enumerate(zip(names, paths, strict=True)):
            row = row_of.get(name)
            if row is None:
                return None, f"{name} is not in it"
            if [*film_state(path)] != self.index["films"][row]:
                return None, f"{name} has changed since"
            rows[n] = row
        return rows, ""


def film_state(path):
    """Return what tells one file from another: its name, its size in bytes and its time in ns."""
    state = os.stat(path)
    return os.path.basename(path), state.st_size, state.st_mtime_ns


class ChestXray14(paddle.io.Dataset):
    """Films and labels of one list, from the cache where there is one.

    Args:
        image_dir: the data folder (see `find_films`).
        label_list: path of the list (see `read_labels`).
        transform: called with a film, uint8 `[1, H, W]`, and three numbers drawn from [0, 1);
            returns the film to give. None: the whole film, which `TenCrop` takes.
        resize: length of the short side of a film, pixels.
        seed: with `epoch` and a film's index, all that those numbers depend on: not on which
            worker process reads the film, nor on what was read before.
        reading: how values of more than 8 bits are read.

    Attributes:
        listed: the `LabelList`.
        names, labels: of it.
        epoch: counts from 0; set it before each pass over the data.
        source: where films are read from, in words.
    """

    def __init__(
        self, image_dir, label_list, transform=None, resize=256, seed=0, reading=AS_STORED
    ):
        super().__init__()
        self.listed = read_labels(label_list)
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
        if self._rows is None:
            self.source = f"their files (the cache {cache.folder} is not used: {reason})"

    @property
    def epoch(self):
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._epoch = epoch
        # For all films at once: a generator for each would take longer than the film.
        self._draws = np.random.default_rng((self.seed, epoch)).random((len(self.names), 3))

    def read_file(self, index, side):
        """Return a film from its file, not the cache, with a short side of `side` pixels."""
        return read_film(self.paths[index], side, reading=self.reading)

    def __getitem__(self, index):
        """Return film uint8 `[1, H, W]` and labels float32 `[14]`, NumPy arrays; NaN: unknown."""
        if self._rows is None:
            film = self.read_file(index, self.resize)
        else:
            film = self._films[self._rows[index]][np.newaxis]
        if self.transform is not None:
            film = self.transform(film, self._draws[index])
        return film, self.labels[index].astype(np.float32)

    def __len__(self):
        return len(self.names)
