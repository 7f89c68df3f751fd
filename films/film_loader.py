"""Batches of films: their order, the processes that read them, and errors on the way."""

import collections
import concurrent.futures
import concurrent.futures.process
import functools
import hashlib
import json
import os
import signal
import sys
import threading
import time

import numpy as np
import paddle

from films.film_notes import FilmNotes
from films.film_pixels import read_film_with_facts
from runtime.devices import is_first_rank
from runtime.environment import ranks_here
from runtime.files import UserError
from runtime.progress import progress_bar


class EpochSampler(paddle.io.BatchSampler):
    """Batches of an epoch in an order that depends only on seed and epoch.

    Paddle's own shuffles by the epoch's number whatever the seed, and begins at the beginning.

    Args:
        dataset: a `ChestXray14`; its `epoch` is set, so that crops are the epoch's too.
        batch_size: films in a batch of one process.
        seed: whole number.
        rank, ranks: which process of how many this is; each gets its share of every batch, the
            same number of films, for which some at the end come twice.
    """

    def __init__(self, dataset, batch_size, seed, rank=0, ranks=1):
        super().__init__(dataset, batch_size=batch_size)
        self.dataset, self.seed, self.rank, self.ranks = dataset, seed, rank, ranks
        self.begin(0)

    def begin(self, epoch, step=0):
        """Make the next pass the one of an epoch, from a step of it on."""
        self.dataset.epoch = self.epoch = epoch
        self.step = step

    def __iter__(self):
        # The 1 keeps these numbers apart from those that the films' crops are drawn from.
        order = np.random.default_rng((self.seed, self.epoch, 1)).permutation(len(self.dataset))
        order = np.resize(order, -(-len(order) // self.ranks) * self.ranks)
        batch = self.batch_size * self.ranks
        for start in range(self.step * batch, len(order), batch):
            yield order[start : start + batch][self.rank :: self.ranks].tolist()

    def __len__(self):
        """Return the number of steps of a whole epoch."""
        return -(-len(self.dataset) // (self.batch_size * self.ranks))


class FilmLoader(paddle.io.DataLoader):
    """A `paddle.io.DataLoader` whose reading errors are raised where the batches are used.

    Paddle's own raises them in a thread of its own, and then the main thread waits for ever (no
    worker processes) or sees a SystemError that names no file (with some).

    Args:
        dataset: a `ChestXray14`.
        options: those of `paddle.io.DataLoader`.

    Attributes:
        notes: the `FilmNotes` of the first pass; it ends with a warning for each kind of doubt.
    """

    def __init__(self, dataset, **options):
        self.notes, self._films = dataset.notes, dataset
        if options.get("num_workers"):
            sampler = options.get("batch_sampler")
            batch_size = sampler.batch_size if sampler else options["batch_size"]
            # Of each worker two batches lie ready, and some are on their way.
            batches = 2 * options["num_workers"] + 2
            options["use_shared_memory"] = _shared_memory_holds(dataset, batches * batch_size)
        super().__init__(
            range(len(dataset)),  # numbers: `_read_batch` reads their films, and may give an error
            collate_fn=functools.partial(_read_batch, dataset),
            return_list=True,
            worker_init_fn=functools.partial(_begin_worker, os.getpid()),
            **options,
        )

    def __iter__(self):
        """Yield batches: tensors of films, uint8 `[N, 1, H, W]`, and labels, float32 `[N, C]`."""
        is_noting = self._films.is_noting
        if is_noting:  # workers begin with what is here
            self.notes, self._films.notes = FilmNotes(), FilmNotes()
        for batch in self._start():
            if len(batch) == 1:
                raise UserError(bytes(batch[0].numpy()).decode())
            if is_noting:
                self.notes.merge(FilmNotes(**json.loads(batch.pop())))
            yield batch
        self._films.is_noting, self._films.notes = False, self.notes
        if is_first_rank():
            self.notes.warn()

    def _start(self):
        """Start reading, in worker processes if there are any; return an iterator of batches."""
        if not self.num_workers:
            return super().__iter__()
        # SIGTERM often goes to the whole process group: Slurm, `timeout` and Paddle's launcher send
        # it so. The main process answers it, and for that needs its workers: they inherit this.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _shared_memory_holds(dataset, films):
    """Tell whether this rank's share of /dev/shm has room for so many films; print a note if not.

    A container has 64 MB of it by default. Where it is full, Paddle ends with a bus error.
    """
    try:
        disk = os.statvfs("/dev/shm")
    except (OSError, AttributeError):  # macOS, Windows
        return True
    free = disk.f_bavail * disk.f_frsize // ranks_here()
    try:
        need = films * dataset[0][0].nbytes
    except UserError:
        return True  # the loader will report the broken film
    if need > free:
        print(
            f"note: /dev/shm has {free / 1e6:.0f} MB free and the loader wants {need / 1e6:.0f}: "
            "films come through pipes, which is slower; for docker, --shm-size=1g",
            file=sys.stderr,
        )
    return need <= free


def end_with_parent(parent):
    """In a worker process: end when the parent is killed, which would leave it waiting for ever."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def film_pool(workers):
    """Return a pool of processes to read films in, which end with this one; 0: of a thread."""
    if not workers:
        return concurrent.futures.ThreadPoolExecutor(1)
    # Windows cannot wait for more than 61.
    return concurrent.futures.ProcessPoolExecutor(
        min(workers, 61), initializer=end_with_parent, initargs=(os.getpid(),)
    )


def in_order(pool, function, jobs, ahead):
    """Apply a function to jobs in a pool, with few jobs and results in memory at a time.

    Args:
        pool: of `film_pool`.
        function: takes a job; both go to another process.
        jobs: as many as you like.
        ahead: how many are begun before the first result is taken.

    Yields:
        For each job, in their order, a function that returns its result or raises its UserError.
    """
    waiting = collections.deque()
    for job in jobs:
        waiting.append(pool.submit(function, job))
        if len(waiting) > ahead:
            yield functools.partial(_result, waiting.popleft())
    while waiting:
        yield functools.partial(_result, waiting.popleft())


def read_all(films, workers, reading, digests=None):
    """Read films in whole, and keep none.

    Args:
        films: dict from name to path.
        workers: number of processes.
        reading: how values of more than 8 bits are read.
        digests: dict to put the digest of each film's pixels into, by name; None: none are made.

    Returns:
        dict from name to what is wrong with those that cannot be read, and the `FilmNotes` of the
        others.
    """
    read = functools.partial(_read_and_digest, reading=reading, digests=digests is not None)
    failed, notes = {}, FilmNotes()
    with film_pool(workers) as pool, progress_bar(total=len(films), unit="film") as bar:
        results = in_order(pool, read, films.values(), 64)
        for name, result in zip(films, results, strict=True):
            try:
                film, facts, digest = result()
                notes.add(name, film, facts)
                if digests is not None:
                    digests[name] = digest
            except (UserError, OSError) as error:
                failed[name] = str(error)
            bar.update()
    return failed, notes


def _read_and_digest(path, reading, digests):
    """Return a film, its `FilmFacts` and a digest of shape and pixels, or None for that."""
    film, facts = read_film_with_facts(path, reading=reading)
    if not digests:
        return film, facts, None
    return film, facts, (film.shape, hashlib.blake2b(np.ascontiguousarray(film)).digest())


def _result(future):
    try:
        return future.result()
    except concurrent.futures.process.BrokenProcessPool:
        raise UserError(
            "--num-workers: want processes that read films, got one that was killed, perhaps "
            "for the memory that it took; give fewer, or 0"
        ) from None


def _begin_worker(parent, worker):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process to answer
    threading.Thread(target=_end_when_told, args=(parent,), daemon=True).start()


def _end_when_told(parent):
    """In a worker that blocks SIGTERM: end when the parent sends it, or is gone."""
    while os.getppid() == parent:
        sent = signal.sigtimedwait({signal.SIGTERM}, 0.5)
        if sent and sent.si_pid == parent:
            os._exit(0)
    os._exit(1)


def _read_batch(dataset, indices):
    """Read and stack films and labels, and what was noted of them; or the text of an error."""
    try:
        films, labels = zip(*(dataset[index] for index in indices), strict=True)
        shapes = {film.shape for film in films}
        if len(shapes) > 1:
            raise UserError(
                f"films of one batch: want one shape, got {' and '.join(map(str, sorted(shapes)))};"
                " use --crops 1 or --batch-size 1 for films that are not square"
            )
    except UserError as error:
        return [np.frombuffer(str(error).encode(), np.uint8)]
    batch = [np.stack(films), np.stack(labels)]
    if dataset.is_noting:
        # Text, which Paddle hands from process to process but not to the device.
        batch.append(json.dumps(dataset.notes.as_json()))
        dataset.notes = FilmNotes()
    return batch
