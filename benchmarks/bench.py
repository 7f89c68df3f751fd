"""Time this project side by side with how others do it, on the real films of ../shared/sample.

    python benchmarks/bench.py

prints the tables and writes them to benchmarks/RESULTS.md. Every time of the first table is the
best of several rounds, in which baseline and ours take turns, each in a process of its own.
"""

import csv
import functools
import importlib.metadata
import json
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
from results_file import machine, write_section

from runtime import command_line  # before Paddle
from runtime.files import UserError

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
    command = [sys.executable, __file__, "--task", task]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    last = child.stdout.read().splitlines()[-1]
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{task} failed")
    return float(last), usage.ru_maxrss // 1024


def run_eval(weights, data, folder, *words):
    """Run eval.py for real: seconds, its peak memory in MiB, and its predictions."""
    words = ["--data-dir", data, "--weights", weights, "--output-dir", folder, *words]
    command = [sys.executable, ROOT / "eval.py", "--batch-size", 8, *words]
    start = time.perf_counter()
    child = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(errors.decode())
    with open(os.path.join(folder, "predictions.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    with open(os.path.join(folder, "metrics.json"), encoding="utf-8") as file:
        mean = json.load(file)["auroc_mean"]
    probs = np.array([row[1:] for row in rows], np.float64)
    return time.perf_counter() - start, usage.ru_maxrss // 1024, probs, mean


def side_by_side(times, rounds):
    """The table of what, baseline, ours and ratio."""
    lines = ["| what | baseline | ours | ratio |", "|---|---|---|---|"]
    for what, theirs, their_films, own, own_films, unit in ROWS:
        baseline, mine = times[theirs] / their_films, times[own] / own_films
        figures = f"{baseline:.4g} {unit} | {mine:.4g} {unit} | {baseline / mine:.3g}"
        lines.append(f"| {what} | {figures} |")
    return f"Best of {rounds} rounds.\n\n" + "\n".join(lines)


def crops_at_a_time(times):
    """The table behind CPUPredictor.chunk."""
    lines = ["| crops at a time | fp32 | bf16 |", "|---|---|---|"]
    for crops in CROPS_AT_A_TIME:
        fp32, bf16 = times[f"forward fp32 {crops}"], times[f"forward bf16 {crops}"]
        lines.append(f"| {crops} | {fp32:.3f} s | {bf16:.3f} s |")
    return "Ten crops forward through the predictor.\n\n" + "\n".join(lines)


def growth(cached):
    """The tables of time and peak memory over the amount of work."""
    lines = ["| what | time | peak memory |", "|---|---|---|"]
    for count, (took, memory) in cached.items():
        rate = f"{count / took:,.0f} samples a second"
        lines.append(f"| loader, {count:,} cached samples | {took:.2f} s, {rate} | {memory} MiB |")
    for rows, task in zip(AUROC_ROWS, GROWTH_TASKS, strict=True):
        took, memory = measure(task)
        lines.append(f"| AUROC, {rows:,} rows, a value every 128 | {took:.2f} s | {memory} MiB |")
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
            lines.append(f"| {what} | {took:.1f} s | {memory} MiB |")
    return "Cost over amount of work.\n\n" + "\n".join(lines)


def bfloat16():
    """What bfloat16 changes on 300 real films, with the weights of ../shared/reference."""
    with tempfile.TemporaryDirectory() as folder:
        weights = os.path.join(folder, "reference.pdparams")
        checkpoint = SHARED / "reference" / "model.pth.tar"
        convert = [sys.executable, ROOT / "convert_torch_weights.py", checkpoint, weights]
        subprocess.run(convert, check=True, stdout=subprocess.DEVNULL)
        *_, fp32, fp32_mean = run_eval(weights, SHARED / "sample_256", folder)
        *_, bf16, bf16_mean = run_eval(
            weights, SHARED / "sample_256", folder, "--precision", "bf16"
        )
    return (
        f"`--precision bf16` against fp32 on {len(fp32)} real films, a trained checkpoint: "
        f"largest change of a probability {np.abs(bf16 - fp32).max():.4f} and "
        f"change of the mean AUROC {bf16_mean - fp32_mean:+.5f}."
    )


def device_table():
    """What benchmarks/device.py prints."""
    return subprocess.check_output([sys.executable, ROOT / "benchmarks" / "device.py"], text=True)


def main():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--rounds", type=command_line.positive_int, default=2)
    parser.add_argument("--task", choices=[*TASKS, *GROWTH_TASKS], help="time this one alone")
    args = parser.parse_args()
    if args.task:
        print(seconds((TASKS | GROWTH_TASKS)[args.task]()))
        return
    if not FILMS:
        raise UserError(f"{SHARED}/sample: want films, got none; put some there")

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
    sections += [bfloat16(), device_table().strip()]
    text = "\n\n".join(sections)
    print(text)
    write_section(text)


if __name__ == "__main__":
    command_line.run(main)
