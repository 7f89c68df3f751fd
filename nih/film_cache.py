"""Writing the cache of resized films that `dataset.FilmCache` reads."""

import hashlib
import io
import json
import os

import numpy as np

from dataset import FilmCache, film_state, read_film
from runtime.batches import film_pool
from runtime.files import UserError, write_whole
from runtime.film_files import AS_STORED
from runtime.progress import progress_bar

# Rows between two notes of how far it has come; what is lost when it is stopped.
ROWS_A_NOTE = 256


def write_cache(data_dir, films, resize, workers, reading=AS_STORED):
    """Write films into the cache of a data folder, or go on where an earlier run was stopped.

    Rows go to `films.npy.tmp`; `progress.json` notes which films that file is for and how many of
    them it holds. When all are there it becomes `films.npy`, and `index.json` completes the cache.

    Args:
        data_dir: the data folder.
        films: dict from name to path of N square films, as `data_check.sorted_films` returns.
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
    index = {
        "version": FilmCache.VERSION,
        "resize": resize,
        "films": [list(film_state(path)) for path in paths],
    }
    if reading.window:
        index["window"] = reading.window
    if reading.any_modality:
        index["any_modality"] = True
    partial, progress = os.path.join(folder, "films.npy.tmp"), os.path.join(folder, "progress.json")
    digest = hashlib.sha256(json.dumps(index).encode()).hexdigest()
    done = _rows_done(progress, partial, digest)
    if done:
        print(f"going on with {folder} after {done} films")
    try:
        for rows in _write_rows(partial, paths, resize, reading, done, workers):
            with write_whole(progress, "w") as file:
                json.dump({"index_sha256": digest, "done": rows}, file)
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
        json.dump(index, file)
    os.remove(progress)
    print(f"wrote {folder}: {len(paths)} films, {size}; train.py and eval.py use it from now on")


def _size(count):
    """Return a number of bytes as text, in GB or, where that is little, in MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


def _write_rows(partial, paths, resize, reading, done, workers):
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
            for film in pool.map(_resized, jobs, chunksize=4):
                file.write(film)
                bar.update()
            file.flush()
            os.fsync(file.fileno())
            yield start + len(jobs)


def _rows_done(progress, partial, digest):
    """Return how many rows an earlier run left in `partial`, 0 if they are of other films."""
    try:
        with open(progress, encoding="utf-8") as file:
            note = json.load(file)
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    return note["done"] if note["index_sha256"] == digest and os.path.exists(partial) else 0


def _resized(job):
    """Read and resize one film, in a worker process; a job is (path, side, how)."""
    path, resize, reading = job
    film = read_film(path, resize, reading=reading)
    if film.shape != (1, resize, resize):
        raise UserError(
            f"{path}: want a square film, got one of {film.shape[1]} x {film.shape[2]} pixels "
            "when resized; move it out of the folder"
        )
    return film[0]
