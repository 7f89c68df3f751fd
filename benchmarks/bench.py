"""Time this project side by side with how others do it, on the real films of ../shared/sample.

    python benchmarks/bench.py

prints a table and writes it to benchmarks/RESULTS.md. Every time is the best of several rounds, in
which baseline and ours take turns, each in a process of its own.
"""

import argparse
import datetime
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import cli  # before Paddle

import baselines
import numpy as np

from files import UserError

FILMS = sorted((ROOT.parent / "shared" / "sample" / "images").glob("*.png"))


def seconds(steps):
    """Run a generator that yields where its clock starts; return the time after the last yield."""
    start = None
    for _ in steps:
        start = time.perf_counter()
    return time.perf_counter() - start


def our_eval(precision):
    """eval.py's way: loader, worker processes, `paddle.Model.evaluate`, predictor."""
    import importlib

    import paddle

    from model import CheXNet, TenCrop

    script = importlib.import_module("eval")
    args = argparse.Namespace(crop_size=224, precision=precision, batch_size=8, num_workers=2)
    network, *_ = script.accelerated(CheXNet(), args, paddle.set_device("cpu") and "cpu")
    yield
    script.predict(TenCrop(network, 224), _Films(), args)


class _Films:
    """The sample's films, as dataset.ChestXray14 gives them, without a list."""

    def __getitem__(self, index):
        from dataset import read_film

        return read_film(FILMS[index]), np.zeros(14, np.float32)

    def __len__(self):
        return len(FILMS)


def our_step(films=16):
    """One training step as train.py does it."""
    import paddle

    from model import CheXNet, LogLoss

    network = CheXNet()
    network.train()
    adam = paddle.optimizer.Adam(1e-3, parameters=network.parameters())
    images = paddle.zeros([films, 1, 224, 224], "uint8")
    for _ in range(2):
        yield
        LogLoss()(network(images), paddle.zeros([films, 14])).backward()
        adam.step()
        adam.clear_grad()


def our_step_without_mkl_switch():
    """The same as MKL does it by itself."""
    os.environ.pop("MKL_DEBUG_CPU_TYPE", None)  # cli has set it; Paddle is not loaded yet
    return our_step()


def our_train_samples():
    """Uncached training samples in one process."""
    from dataset import RandomCropFlip, read_film

    crop, rng = RandomCropFlip(224), np.random.default_rng(0)
    yield
    for path in FILMS:
        np.ascontiguousarray(crop(read_film(path), rng))


def torch_train_samples():
    import torch

    torch.set_num_threads(1)
    yield
    for path in FILMS:
        baselines.torch_train_sample(path)


def epoch_of_predictions():
    rng = np.random.default_rng(0)
    labels = rng.random((614 * 128, 14)) < 0.08
    return labels, (rng.random(labels.shape) + 0.1 * labels).astype(np.float32)


def our_auroc():
    """614 updates of 128 x 14 with the values after each."""
    from dataset import CLASS_NAMES
    from metrics import AUROC

    labels, scores = epoch_of_predictions()
    metric = AUROC(CLASS_NAMES)
    yield
    for start in range(0, len(labels), 128):
        metric.update(scores[start : start + 128], labels[start : start + 128])
        metric.accumulate()


def sorted_auroc():
    """The same by sorting all that was seen after each update."""
    from metrics import auroc

    labels, scores = epoch_of_predictions()
    yield
    for end in range(128, len(labels) + 1, 128):
        auroc(labels[:end], scores[:end])


TASKS = {
    "torch eval": lambda: baselines.torch_eval(FILMS),
    "paddle eval": lambda: baselines.paddle_eval(FILMS),
    "eval fp32": lambda: our_eval("fp32"),
    "eval bf16": lambda: our_eval("bf16"),
    "torch step": baselines.torch_step,
    "step": our_step,
    "step without MKL_DEBUG_CPU_TYPE": our_step_without_mkl_switch,
    "torch train samples": torch_train_samples,
    "train samples": our_train_samples,
    "sorted auroc": sorted_auroc,
    "auroc": our_auroc,
}

# what, baseline's task, our task, share of the time that counts, unit, limit on the ratio
ROWS = [
    ("eval.py, ten crops, fp32, against (a)", "torch eval", "eval fp32", len(FILMS), "s/film", 3.3),
    ("eval.py, ten crops, fp32, against (b)", "paddle eval", "eval fp32", len(FILMS), "s/film", 8),
    ("eval.py, ten crops, bf16, against (a)", "torch eval", "eval bf16", len(FILMS), "s/film", 5.5),
    (
        "training step, 16 films, against MKL's slow path",
        "step without MKL_DEBUG_CPU_TYPE",
        "step",
        1,
        "s",
        4,
    ),
    ("training step, 16 films, against torch eager", "torch step", "step", 1, "s", None),
    (
        "an uncached train sample, one process, against (a)",
        "torch train samples",
        "train samples",
        len(FILMS),
        "s/film",
        1 / 0.75,
    ),
    ("AUROC over an epoch of 614 steps, against sorting", "sorted auroc", "auroc", 1, "s", None),
]


def measure(task):
    """Time a task in a process of its own."""
    command = [sys.executable, __file__, "--task", task]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(output.stdout.splitlines()[-1])


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))


def main():
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("--rounds", type=cli.positive_int, default=2)
    parser.add_argument("--task", choices=list(TASKS), help="time this one alone")
    args = parser.parse_args()
    if args.task:
        print(seconds(TASKS[args.task]()))
        return
    if not FILMS:
        raise UserError(f"{ROOT.parent}/shared/sample: want films, got none; put some there")

    times = {}
    for turn in range(args.rounds):
        for task in TASKS:
            times[task] = min(times.get(task, float("inf")), measure(task))
            print(f"round {turn + 1}: {task}: {times[task]:.3f} s", file=sys.stderr)
    lines = ["| what | baseline | ours | ratio | limit |", "|---|---|---|---|---|"]
    for what, theirs, ours, share, unit, limit in ROWS:
        baseline, own = times[theirs] / share, times[ours] / share
        wanted = f"at least {limit:.2f}" if limit else ""
        figures = f"{baseline:.4g} {unit} | {own:.4g} {unit} | {baseline / own:.2f}"
        lines.append(f"| {what} | {figures} | {wanted} |")
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("paddlepaddle", "torch", "numpy", "pillow")
    )
    text = "\n".join(lines)
    print(text)
    header = (
        "# Results of `make bench`\n\n"
        f"{datetime.date.today()}, {processor()}, {os.cpu_count()} cores, {versions}. "
        f"{len(FILMS)} real films of 1024 pixels; best of {args.rounds} rounds.\n\n"
        "(a): PIL, ToTensor and Normalize for each crop, PyTorch eager, 2 workers, batch 8. "
        "(b): Paddle's transforms for each crop in the main process, dygraph, batch 8. "
        "Both written from the description in benchmarks/baselines.py. No GPU.\n\n"
    )
    (ROOT / "benchmarks" / "RESULTS.md").write_text(header + text + "\n", encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
