"""Time this project side by side with how others do it, on the real films of ../shared/sample.

    python benchmarks/bench.py

prints the tables and writes them to benchmarks/RESULTS.md. Every time of the first table is the
best of several rounds, in which baseline and ours take turns, each in a process of its own.
"""

import functools
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import baselines
import numpy as np
import ours
from ours import FILMS, SHARED
from results_file import machine, run, table, write_section

from runtime import command_line  # before Paddle
from runtime.files import UserError, read_json

CROPS_AT_A_TIME = (1, 2, 5, 10)
LOADER_SAMPLES = (12_800, 25_600, 51_200)
AUROC_ROWS = (10_000, 100_000, 1_000_000)
EVAL_FILMS = (50, 100, 200, 400)


def mkl_by_itself(task):
    """Run a task without the switch that `environment` has set; Paddle is not loaded yet."""
    os.environ.pop("MKL_DEBUG_CPU_TYPE", None)
    return task()


TASKS = {
    "torch eval": lambda: baselines.torch_eval(FILMS),
    "paddle eval": lambda: mkl_by_itself(lambda: baselines.paddle_eval(FILMS)),
    "eval fp32": lambda: ours.evaluation("fp32"),
    "eval bf16": lambda: ours.evaluation("bf16"),
    "onnx forward": baselines.onnx_forward,
    "torch train samples": lambda: baselines.torch_train_samples(FILMS),
    "paddle train samples": lambda: baselines.paddle_train_samples(FILMS),
    "train samples": ours.train_samples,
    "sorted auroc": ours.sorted_auroc,
    "auroc": ours.auroc,
    "torch training step": baselines.torch_training_step,
    "paddle training step": lambda: ours.training_step("off"),
    "training step": lambda: ours.training_step(""),
}
for _precision in ("fp32", "bf16"):
    for _crops in CROPS_AT_A_TIME:
        TASKS[f"forward {_precision} {_crops}"] = functools.partial(
            ours.forward, _precision, _crops
        )
for _count in LOADER_SAMPLES:
    TASKS[f"cached samples {_count}"] = functools.partial(ours.cached_samples, _count)
GROWTH_TASKS = {f"auroc {rows}": functools.partial(ours.auroc, rows) for rows in AUROC_ROWS}

# what, baseline's task, films in it, our task, films in it, unit
_N = len(FILMS)
ROWS = [
    ("eval.py, ten crops, fp32, against (a)", "torch eval", _N, "eval fp32", _N, "s/film"),
    ("eval.py, ten crops, fp32, against (b)", "paddle eval", _N, "eval fp32", _N, "s/film"),
    ("eval.py, ten crops, bf16, against (a)", "torch eval", _N, "eval bf16", _N, "s/film"),
    ("forward of ten crops, fp32, against (c)", "onnx forward", 1, "forward fp32 2", 1, "s"),
    (
        "an uncached train sample, one process, against (a)",
        *("torch train samples", _N, "train samples", _N, "s/film"),
    ),
    (
        "a cached train sample, 2 workers, against (b)",
        *("paddle train samples", _N, "cached samples 51200", 51_200, "s/film"),
    ),
    (
        "AUROC over an epoch of 614 steps, against sorting",
        *("sorted auroc", 1, "auroc", 1, "s"),
    ),
    ("a training step of 16 films, against (a)", "torch training step", 1, "training step", 1, "s"),
    (
        "a training step of 16 films, against Paddle's own kernels",
        *("paddle training step", 1, "training step", 1, "s"),
    ),
]


def seconds(steps):
    """Run a generator that yields where its clock starts; return the shortest stretch of it."""
    times, start = [], None
    for _ in steps:
        if start is not None:
            times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return min([*times, time.perf_counter() - start])


def measure(task):
    """Time a task in a process of its own: seconds, and the peak memory of that process in MiB."""
    line, memory = run([sys.executable, __file__, "--task", task])
    return float(line), memory


def run_eval(weights, data, folder, *words):
    """Run eval.py for real: seconds, its peak memory in MiB, and its predictions."""
    words = ["--data-dir", data, "--weights", weights, "--output-dir", folder, *words]
    start = time.perf_counter()
    _, memory = run([sys.executable, ROOT / "eval.py", "--batch-size", 8, *words])
    took = time.perf_counter() - start
    predictions = os.path.join(folder, "predictions.csv")
    probs = np.loadtxt(predictions, delimiter=",", skiprows=1, usecols=range(1, 15))
    mean = read_json(os.path.join(folder, "metrics.json"))["auroc_mean"]
    return took, memory, probs, mean


def side_by_side(times, rounds):
    """The table of what, baseline, ours and ratio."""
    rows = []
    for what, theirs, their_films, own, own_films, unit in ROWS:
        baseline, mine = times[theirs] / their_films, times[own] / own_films
        figures = f"{baseline:.4g} {unit}", f"{mine:.4g} {unit}", f"{baseline / mine:.3g}"
        rows.append([what, *figures])
    return f"Best of {rounds} rounds.\n\n" + table(["what", "baseline", "ours", "ratio"], rows)


def crops_at_a_time(times):
    """The table behind CPUPredictor.chunk."""
    rows = [
        [str(crops), *(f"{times[f'forward {kind} {crops}']:.3f} s" for kind in ("fp32", "bf16"))]
        for crops in CROPS_AT_A_TIME
    ]
    heads = ["crops at a time", "fp32", "bf16"]
    return "Ten crops forward through the predictor.\n\n" + table(heads, rows)


def growth(cached):
    """The tables of time and peak memory over the amount of work."""
    rows = []
    for count, (took, memory) in cached.items():
        time_and_rate = f"{took:.2f} s, {count / took:,.0f} samples a second"
        rows.append([f"loader, {count:,} cached samples", time_and_rate, f"{memory} MiB"])
    for count, task in zip(AUROC_ROWS, GROWTH_TASKS, strict=True):
        took, memory = measure(task)
        what = f"AUROC, {count:,} rows, a value every 128"
        rows.append([what, f"{took:.2f} s", f"{memory} MiB"])
    with tempfile.TemporaryDirectory() as folder:
        weights = ours.random_weights(folder)
        listed = (SHARED / "sample_256" / "labels" / "train_list.txt").read_text().splitlines()
        for films in EVAL_FILMS:
            test_list = pathlib.Path(folder, f"{films}.txt")
            test_list.write_text("\n".join(listed[:films]))
            took, memory, *_ = run_eval(
                weights, SHARED / "sample_256", folder, "--test-list", test_list
            )
            what = f"eval.py, {films} films of 256 pixels, all in all"
            rows.append([what, f"{took:.1f} s", f"{memory} MiB"])
    return "Cost over amount of work.\n\n" + table(["what", "time", "peak memory"], rows)


def bfloat16():
    """What bfloat16 changes on 300 real films, with the weights of ../shared/reference."""
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "reference.pdparams")
        checkpoint = SHARED / "reference" / "model.pth.tar"
        convert = [sys.executable, ROOT / "convert_torch_weights.py", checkpoint, weights]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        films = SHARED / "sample_256"
        *_, fp32, fp32_mean = run_eval(weights, films, folder)
        *_, bf16, bf16_mean = run_eval(weights, films, folder, "--precision", "bf16")
    return (
        f"`--precision bf16` against fp32 on {len(fp32)} real films, a trained checkpoint: "
        f"largest change of a probability {np.abs(bf16 - fp32).max():.4f} and "
        f"change of the mean AUROC {bf16_mean - fp32_mean:+.5f}."
    )


def main():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--rounds", type=command_line.positive_int, default=2)
    parser.add_argument("--task", choices=[*TASKS, *GROWTH_TASKS], help="time this one alone")
    args = parser.parse_args()
    if args.task:
        print(seconds((TASKS | GROWTH_TASKS)[args.task]()))
        return
    if not FILMS:
        raise UserError(f"{SHARED}/sample: no films in it; put some there")

    times, cached = {}, {}
    for turn in range(args.rounds):
        for task in TASKS:
            took, memory = measure(task)
            if took < times.get(task, float("inf")):
                times[task] = took
                if task.startswith("cached samples"):
                    cached[int(task.split()[-1])] = took, memory
            print(f"round {turn + 1}: {task}: {took:.3f} s", file=sys.stderr)
    from runtime.devices import set_device  # loads Paddle: not in the tasks' processes

    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("paddlepaddle", "torch", "onnxruntime", "numpy", "pillow")
    )
    header = (
        "# Results of `make bench`\n\n"
        f"{machine()}, {set_device('auto')}, {versions}. "
        f"{len(FILMS)} real films of 1024 pixels.\n\n"
        "(a): PIL, ToTensor and Normalize for each crop, PyTorch eager, 2 workers, batch 8. "
        "(b): Paddle's transforms for each crop in the main process, dygraph, batch 8. "
        "(c): ONNX Runtime on the same network. "
        "All written from descriptions, in benchmarks/baselines.py."
    )
    sections = [header, side_by_side(times, args.rounds), crops_at_a_time(times), growth(cached)]
    device = [sys.executable, ROOT / "benchmarks" / "device.py"]
    sections += [bfloat16(), subprocess.check_output(device, text=True).strip()]
    write_section("\n\n".join(sections))


if __name__ == "__main__":
    command_line.run(main)
