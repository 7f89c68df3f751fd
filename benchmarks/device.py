"""Time the loops of train.py and eval.py on this machine's accelerator, or its CPU.

    python benchmarks/device.py

prints a table: films a second, the share of the time spent waiting for films, and the most memory
that was taken. Films are noise, from a cache. Each row is measured in a process of its own; one
that does not run says why. `make bench` ends with this table.
"""

import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from ours import write_noise
from results_file import table

from runtime import command_line  # before Paddle
from runtime.command_line import positive_int
from runtime.files import UserError, first_line

HEADS = ["loop", "films a second", "share of time waiting for films", "most memory taken"]
WARMING_UP = 2  # steps that do not count
CPU_ROWS = [("train", "off"), ("eval", "fp32")]
ROWS = [*[("train", amp) for amp in ("off", "O1", "O2")], *[("eval", p) for p in ("fp32", "fp16")]]
ROWS += [("eval", "bf16")]


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    command_line.add_device_argument(parser)
    parser.add_argument("--batch-size", type=positive_int, help="default: 128, or 16 on a CPU")
    parser.add_argument("--steps", type=positive_int, help="default: 100, or 6 on a CPU")
    command_line.add_size_arguments(parser, 256, 224)
    parser.add_argument("--row", nargs=3, metavar=("LOOP", "PRECISION", "DATA"), help="only this")
    args = parser.parse_args()
    if args.steps and args.steps <= WARMING_UP:
        parser.error(f"--steps: want more than the {WARMING_UP} that do not count")
    return args


def measure_all(args):
    """Return what a device does, in Markdown."""
    import paddle

    from runtime.devices import set_device
    from runtime.versions import versions

    device = set_device(args.device)
    args.batch_size = args.batch_size or (16 if device == "cpu" else 128)
    args.steps = args.steps or (6 if device == "cpu" else 100)
    name = f" ({paddle.device.cuda.get_device_name()})" if device.startswith("gpu") else ""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write_noise(folder, args.batch_size * args.steps, args.resize)
        for loop, precision in CPU_ROWS if device == "cpu" else ROWS:
            what = "--amp" if loop == "train" else "ten crops, --precision"
            rows.append([f"{loop}.py, {what} {precision}", *_row(args, loop, precision, folder)])
            print(*rows[-1], sep=" | ", file=sys.stderr)
    return (
        f"On {device}{name}, Paddle {versions()['paddle']}, batch {args.batch_size}, crops of "
        f"{args.crop_size} pixels, {args.steps} steps of which {WARMING_UP} do not count, "
        f"{command_line.default_workers()} processes that read films.\n\n" + table(HEADS, rows)
    )


def _row(args, loop, precision, folder):
    """Return three cells, measured in a process of its own."""
    words = ["--device", args.device, "--batch-size", args.batch_size, "--steps", args.steps]
    words += ["--resize", args.resize, "--crop-size", args.crop_size]
    command = [sys.executable, __file__, *words, "--row", loop, precision, folder]
    result = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, text=True)
    if result.returncode:
        return f"ended with status {result.returncode}", "", ""
    figures = json.loads(result.stdout.splitlines()[-1])
    if "error" in figures:
        return figures["error"], "", ""
    seconds, memory = figures["seconds"], figures["memory"]
    memory = f"{memory / 2**20:,.0f} MiB" if memory else "unknown"
    return f"{figures['films'] / seconds:.1f}", f"{figures['waited'] / seconds:.1%}", memory


def measure(args):
    """Return the figures of one row: films, seconds, seconds of them waited, bytes of memory."""
    import paddle

    from dataset import ChestXray14, RandomCropFlip
    from films.film_loader import FilmLoader
    from films.label_lists import CLASS_NAMES
    from inference.engine import choose_engine
    from metrics import AUROC
    from model import CheXNet, TenCrop
    from runtime.devices import set_device
    from runtime.precision import check_precision
    from training.checkpoints import Run
    from training.recipe import half_precision, make_optimizer
    from training.trainer import Trainer

    class Clock(paddle.callbacks.Callback):
        films, waited = 0, 0.0

        def on_train_batch_begin(self, step, logs=None):
            if step >= WARMING_UP:
                self.waited += time.perf_counter() - self.last

        def on_train_batch_end(self, step, logs=None):
            if is_training and step in (WARMING_UP - 1, args.steps - 1):
                self.model.read_results()  # else a step's are read in the next one
            # Results have been fetched: the device has done its work.
            self.last = time.perf_counter()
            if step == WARMING_UP - 1:
                self.start = self.last
            elif step >= WARMING_UP:
                self.films += logs["batch_size"]

        on_eval_batch_begin, on_eval_batch_end = on_train_batch_begin, on_train_batch_end

    loop, precision, folder = args.row
    device = set_device(args.device)
    is_training = loop == "train"
    crop = RandomCropFlip(args.crop_size) if is_training else None
    films = ChestXray14(folder, os.path.join(folder, "list.txt"), crop, args.resize)
    workers = command_line.default_workers()
    loader = FilmLoader(films, batch_size=args.batch_size, num_workers=workers)
    network, clock = CheXNet(), Clock()
    if is_training:
        if precision != "off":
            check_precision(f"--amp {precision}", "float16")
        adam, _ = make_optimizer(network, 0.001)
        network, adam, scaler = half_precision(network, adam, precision, "float16")
        trainer = Trainer(network, Run(), folder, adam, scaler)
        trainer.fit(loader, verbose=0, callbacks=[clock])
    else:
        network.eval()
        layer, precision, _ = choose_engine(network, args.crop_size, precision)
        inputs = [paddle.static.InputSpec([None, None, None, None], "uint8", "films")]
        labels = [paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")]
        model = paddle.Model(TenCrop(layer, args.crop_size), inputs, labels)
        model.prepare(metrics=AUROC(CLASS_NAMES))
        with paddle.no_grad():
            model.evaluate(loader, verbose=0, callbacks=[clock])
    seconds, memory = clock.last - clock.start, most_memory(device)
    return {"films": clock.films, "seconds": seconds, "waited": clock.waited, "memory": memory}


def most_memory(device):
    """Return the most memory that this process has taken on a device, in bytes; None: unknown."""
    import paddle

    if device == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    try:
        if device.startswith("gpu"):
            return paddle.device.cuda.max_memory_allocated()
        return paddle.device.max_memory_allocated() or None
    except (AttributeError, ValueError):  # Paddle 2.6, not on a GPU
        return None


def main(args):
    if not args.row:
        print(measure_all(args))
        return
    try:
        figures = measure(args)
    except (UserError, RuntimeError, MemoryError, OSError) as error:  # no kernel, no memory
        figures = {"error": first_line(error)}
    print(json.dumps(figures))


if __name__ == "__main__":
    command_line.run(main, parse_args())
