"""The cache of resized films: `prepare_data.py cache` writes it once, `ChestXray14` reads it."""

import contextlib
import hashlib
import io
import json
import math
import os
import weakref

import numpy as np

from films.film_loader import film_pool
from films.film_notes import FilmNotes
from films.film_pixels import AS_STORED, read_film_with_facts
from runtime.files import UserError, read_json, write_whole
from runtime.progress import progress_bar

# Rows between two notes of how far it has come; what is lost when it is stopped.
ROWS_A_NOTE = 256


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

    VERSION = 3  # of the cache's form, and of how films are read; another one is out of date

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
            reason: why it cannot; "" where it can, and where there is none.
        """
        if self.index is None:
            return None, "it is incomplete" if os.path.exists(self.folder) else ""
        if self.index["version"] != self.VERSION:
            return None, "another version of this project wrote it"
        if self.index.get("window") != reading.window:
            return None, "it was made with another --window"
        for option in ("any_modality", "any_colours"):
            if self.index.get(option) and not getattr(reading, option):
                return None, f"it was made with --{option.replace('_', '-')}"
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

    def notes(self, names):
        """Return the `FilmNotes` of some of its films."""
        notes = FilmNotes(**self.index["notes"])
        doubts = {name: notes.doubts[name] for name in names if name in notes.doubts}
        return FilmNotes(len(names), doubts, notes.decoders)


def film_state(path):
    """Return what tells one file from another: its name, its size in bytes and its time in ns."""
    state = os.stat(path)
    return os.path.basename(path), state.st_size, state.st_mtime_ns


def write_cache(data_dir, films, resize, workers, reading=AS_STORED):
    """Write films into the cache of a data folder, or go on where an earlier run was stopped.

    Rows go to `films.npy.tmp`; `progress.json` notes which films that file is for and how many of
    them it holds. When all are there it becomes `films.npy`, and `index.json` completes the cache.

    Args:
        data_dir: the data folder.
        films: dict from name to path of N square films, as `folder_check.sorted_films` returns.
        resize: side of the resized films, pixels.
        workers: number of processes.
        reading: how values of more than 8 bits are read.

    Raises:
        UserError: a film is broken or not square; or another process has the earlier cache open,
            and this is Windows.
    """
    cache, paths = FilmCache(data_dir, resize), list(films.values())
    folder = cache.folder
    size = _size(len(paths) * resize * resize)
    if cache.rows(films, paths, reading)[0] is not None:
        print(f"{folder} is up to date: {len(paths)} films, {size}")
        return
    del cache  # Windows replaces no file that is open
    os.makedirs(folder, exist_ok=True)
    states = [list(film_state(path)) for path in paths]
    index = {"version": FilmCache.VERSION, "resize": resize, "films": states}
    if reading.window:
        index["window"] = reading.window
    index |= {key: True for key in ("any_modality", "any_colours") if getattr(reading, key)}
    partial, progress = os.path.join(folder, "films.npy.tmp"), os.path.join(folder, "progress.json")
    digest = hashlib.sha256(json.dumps(index).encode()).hexdigest()
    done, notes = _rows_done(progress, partial, digest)
    if done:
        print(f"going on with {folder} after {done} films")
    try:
        for rows in _write_rows(partial, paths, resize, reading, done, workers, notes):
            note = {"index_sha256": digest, "done": rows, "notes": notes.as_json()}
            with write_whole(progress, "w") as file:
                json.dump(note, file)
    except OSError as error:
        error.filename = error.filename or partial  # a full disk is reported without a name
        raise
    # An index of the earlier films would describe rows that are gone.
    if os.path.exists(os.path.join(folder, "index.json")):
        os.remove(os.path.join(folder, "index.json"))
    target = os.path.join(folder, "films.npy")
    try:
        os.replace(partial, target)
    except PermissionError:
        raise UserError(
            f"{target}: want to replace it, but another process has it open; end the training or "
            "evaluation that reads it, then run this again: no film is lost"
        ) from None
    with write_whole(os.path.join(folder, "index.json"), "w") as file:
        json.dump({**index, "notes": notes.as_json()}, file)
    os.remove(progress)
    _show(notes, folder)
    print(f"wrote {folder}: {len(paths)} films, {size}; train.py and eval.py use it from now on")


def _show(notes, folder):
    """Print what was noted of the films; write the doubted ones into a table."""
    notes.warn()
    if notes.doubts:
        notes.write(os.path.join(folder, "doubted_films.csv"))
        print(f"wrote {os.path.join(folder, 'doubted_films.csv')}")


def _size(count):
    """Return a number of bytes as text, in GB or, where that is little, in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _write_rows(partial, paths, resize, reading, done, workers, notes):
    """Write films to a .npy file that has some already; yield how many are on the disk, often."""
    header = io.BytesIO()
    form = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), resize, resize)}
    np.lib.format.write_array_header_1_0(header, form)
    # No memory map: its pages would count as memory of this process, all 7.3 GB in the end, and a
    # full disk would end it with a bus error.
    with (
        open(partial, "r+b" if done else "wb") as file,
        film_pool(workers) as pool,
        progress_bar(total=len(paths), initial=done, unit="film") as bar,
    ):
        file.write(header.getvalue())
        file.truncate(file.seek(done * resize * resize, os.SEEK_CUR))
        for start in range(done, len(paths), ROWS_A_NOTE):
            jobs = [(path, resize, reading) for path in paths[start : start + ROWS_A_NOTE]]
            films = pool.map(_resized, jobs, chunksize=4)
            for (path, *_), (film, facts) in zip(jobs, films, strict=True):
                notes.add(os.path.basename(path), film[np.newaxis], facts)
                file.write(film)
                bar.update()
            file.flush()
            os.fsync(file.fileno())
            yield start + len(jobs)


def _rows_done(progress, partial, digest):
    """Return how many rows an earlier run left in `partial`, 0 if of other films; their notes."""
    note = read_json(progress)
    if note.get("index_sha256") != digest or not os.path.exists(partial):
        return 0, FilmNotes()
    return note["done"], FilmNotes(**note["notes"])


def _resized(job):
    """Read and resize one film, in a worker process; a job is (path, side, how)."""
    path, resize, reading = job
    film, facts = read_film_with_facts(path, resize, reading=reading)
    if film.shape != (1, resize, resize):
        raise UserError(
            f"{path}: want a square film, got one of {film.shape[1]} x {film.shape[2]} pixels "
            "when resized; move it out of the folder"
        )
    return film[0], facts
