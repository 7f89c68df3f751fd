"""Time how long the device would wait for the host in each step of train.py.

    python benchmarks/host_gap.py
    python benchmarks/host_gap.py --beside ../other_checkout

From the moment a result has been read from the device, its work is done, until the next operator is
queued: CPU time of the main thread, summed over a step. On a CPU nothing waits, but the host does
the same things in the same order as on a card. Films are noise, from a cache, small, so that
operators take little; the two checkouts take turns for several rounds.
"""

import os
import pathlib
import runpy
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from results_file import run, table

from runtime import command_line  # before Paddle
from runtime.command_line import positive_int

FILMS, SIDE, STEPS, WARMING_UP = 128, 32, 24, 4
READS = "numpy", "item", "tolist", "__array__", "__float__", "__int__", "__bool__"


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--beside", metavar="DIR", help="time this checkout's train.py as well")
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("DIR", "DATA"), help="time this one only")
    return parser.parse_args()


class Gaps:
    """Seconds from the end of each read of a tensor to the next operator, summed by step."""

    def __init__(self):
        self.read_at, self.inside, self.sum, self.steps = None, False, 0.0, []

    def watch(self):
        import paddle

        for name in READS:
            setattr(paddle.Tensor, name, self._reading(getattr(paddle.Tensor, name)))
        for module in (paddle._C_ops, paddle._legacy_C_ops):
            for name, function in list(vars(module).items()):
                if callable(function):
                    setattr(module, name, self._queueing(function))
        backward = self._queueing(paddle.Tensor.backward)

        def step(*words, **options):
            self.steps.append(self.sum)
            self.sum = 0.0
            return backward(*words, **options)

        paddle.Tensor.backward = step

    def _reading(self, method):
        def read(*words, **options):
            outermost, self.inside = not self.inside, True
            try:
                return method(*words, **options)
            finally:
                if outermost:
                    self.inside, self.read_at = False, time.thread_time()

        return read

    def _queueing(self, function):
        def queue(*words, **options):
            if self.read_at is not None and not self.inside:
                self.sum += time.thread_time() - self.read_at
                self.read_at = None
            return function(*words, **options)

        return queue


def train(folder, data):
    """Run a checkout's train.py, in this process, and print the gap of each step in seconds."""
    sys.path[0] = folder
    for name in [name for name in sys.modules if name.split(".")[0] == "runtime"]:
        del sys.modules[name]  # this checkout's
    gaps = Gaps()
    gaps.watch()
    save = os.path.join(data, f"save_{os.getpid()}")
    sys.argv = [os.path.join(folder, "train.py"), "--data-dir", data, "--train-list"]
    sys.argv += [os.path.join(data, "list.txt"), "--val-list", os.path.join(data, "short.txt")]
    sys.argv += ["--resize", str(SIDE), "--crop-size", str(SIDE), "--batch-size", str(FILMS)]
    sys.argv += ["--epochs", "1", "--pretrained", "none", "--device", "cpu", "--save-dir", save]
    sys.argv += ["--log-dir", save]
    runpy.run_path(sys.argv[0], run_name="__main__")
    print("gaps", *gaps.steps[WARMING_UP:])


def measure(folder, data):
    """Return the gaps of a process of its own, in milliseconds."""
    command = [sys.executable, __file__, "--measure", folder, data]
    line, _ = run(command, CHEXNET_ONEDNN="off", OMP_NUM_THREADS="1")
    return [1000 * float(word) for word in line.split()[1:]]


def main(args):
    if args.measure:
        train(*args.measure)
        return
    from ours import write_noise

    folders = {"this checkout": str(ROOT)}
    if args.beside:
        folders["beside"] = os.path.abspath(args.beside)
    found = {name: [] for name in folders}
    with tempfile.TemporaryDirectory() as data:
        write_noise(data, FILMS * STEPS, SIDE)
        lines = pathlib.Path(data, "list.txt").read_text().splitlines()
        pathlib.Path(data, "short.txt").write_text("\n".join(lines[:FILMS]))
        for _ in range(args.rounds):
            for name, folder in folders.items():
                found[name] += measure(folder, data)
                print(f"{name}: {statistics.median(found[name]):.2f} ms", file=sys.stderr)
    rows = [
        [name, f"{statistics.median(gaps):.2f}", f"{min(gaps):.2f}", str(len(gaps))]
        for name, gaps in found.items()
    ]
    print(table(["who", "median, ms a step", "least", "steps"], rows))


if __name__ == "__main__":
    command_line.run(main, parse_args())
