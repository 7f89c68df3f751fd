"""Batches of films: their order, the processes that read them, and errors on the way."""

import collections
import concurrent.futures
import concurrent.futures.process
import functools
import os
import signal
import sys
import threading
import time

import numpy as np
import paddle

from runtime.environment import ranks_here
from runtime.files import UserError


class EpochSampler(paddle.io.BatchSampler):
    """Batches of an epoch in an order that depends on seed and epoch alone.

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
    """

    def __init__(self, dataset, **options):
        if options.get("num_workers"):
            sampler = options.get("batch_sampler")
            batch_size = sampler.batch_size if sampler else options["batch_size"]
            # Of each worker two batches lie ready, and some are on their way.
            batches = 2 * options["num_workers"] + 2
            options["use_shared_memory"] = _shared_memory_holds(dataset, batches * batch_size)
        super().__init__(
            _ErrorsAsItems(dataset),
            collate_fn=_collate,
            return_list=True,
            worker_init_fn=functools.partial(_begin_worker, os.getpid()),
            **options,
        )

    def __iter__(self):
        """Yield batches: tensors of films, uint8 `[N, 1, H, W]`, and labels, float32 `[N, 14]`."""
        for batch in self._start():
            if len(batch) == 1:
                raise UserError(bytes(batch[0].numpy()).decode())
            yield batch

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
        What the function returned, or the UserError that it raised, in the jobs' order.

    Raises:
        UserError: a process was killed.
    """

    def outcome(future):
        try:
            return future.result()
        except UserError as error:
            return error
        except concurrent.futures.process.BrokenProcessPool:
            raise UserError(
                "--num-workers: want processes that read films, got one that was killed, perhaps "
                "for the memory that it took; give fewer, or 0"
            ) from None

    waiting = collections.deque()
    for job in jobs:
        waiting.append(pool.submit(function, job))
        if len(waiting) > ahead:
            yield outcome(waiting.popleft())
    while waiting:
        yield outcome(waiting.popleft())


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


class _ErrorsAsItems(paddle.io.Dataset):
    """A data set that gives a UserError instead of raising it."""

    def __init__(self, dataset):
        super().__init__()
        self.dataset = dataset

    def __getitem__(self, index):
        try:
            return self.dataset[index]
        except UserError as error:
            return error

    def __len__(self):
        return len(self.dataset)


def _collate(items):
    """Stack films and labels; a batch with an error becomes the error's text alone."""
    for item in items:
        if isinstance(item, UserError):
            return [np.frombuffer(str(item).encode(), np.uint8)]
    films, labels = zip(*items, strict=True)
    shapes = {film.shape for film in films}
    if len(shapes) > 1:
        text = (
            f"films of one batch: want one shape, got {' and '.join(map(str, sorted(shapes)))}; "
            "use --crops 1 or --batch-size 1 for films that are not square"
        )
        return [np.frombuffer(text.encode(), np.uint8)]
    return [np.stack(films), np.stack(labels)]
