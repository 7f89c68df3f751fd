"""Time a training step on the CPU beside Paddle's own kernels and PyTorch's.

    python benchmarks/training_step.py

takes 16 films of 224 pixels through forward, backward and Adam in float32, on all cores. Each of
the three has a process of its own; they take turns for several rounds. It prints the table and
writes it to benchmarks/RESULTS.md: the median of the rounds, and of their ratios.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
from results_file import RESULTS, machine, write_section

from runtime import command_line, environment  # before Paddle

SIDE, STEPS = 224, 4  # the first step makes ready what the others use


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--films", type=command_line.positive_int, default=16)
    parser.add_argument("--rounds", type=command_line.positive_int, default=3)
    parser.add_argument("--task", choices=["ours", "paddle", "torch"], help="time this one only")
    parser.add_argument("--output", default=RESULTS, help="file with the section")
    return parser.parse_args()


def batch(films):
    """Return pixels uint8 `[N, 1, H, W]` and labels float32 `[N, 14]`."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (films, 1, SIDE, SIDE), np.uint8)
    return pixels, (rng.random((films, 14)) < 0.1).astype(np.float32)


def paddle_step(films):
    """Return a function that does a step as train.py does, with the kernels that the user set."""
    environment.compute_on_cores()
    import paddle

    from model import CheXNet, LogLoss
    from training.recipe import make_optimizer

    pixels, labels = map(paddle.to_tensor, batch(films))
    network, loss = CheXNet(), LogLoss()
    network.train()
    adam, _ = make_optimizer(network, 1e-3)

    def step():
        loss(network(pixels), labels).backward()
        adam.step()
        adam.clear_grad()

    return step


def torch_step(films):
    """Return a function that does a step in PyTorch, eager; its pixels are normalised already."""
    import torch

    from benchmarks.torch_densenet import DenseNet121

    pixels, labels = map(torch.from_numpy, batch(films))
    images = pixels.float().expand(-1, 3, -1, -1).contiguous() / 255
    network, loss = DenseNet121().train(), torch.nn.functional.binary_cross_entropy
    adam = torch.optim.Adam(network.parameters(), 1e-3)

    def step():
        adam.zero_grad()
        loss(network(images), labels).backward()
        adam.step()

    return step


def run(task, films):
    """Print the shortest step of one of the three, in seconds."""
    step, times = (torch_step if task == "torch" else paddle_step)(films), []
    for _ in range(STEPS):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    print(min(times))


def measure(task, films):
    """Return seconds a step and peak memory in MiB, of a process of its own."""
    variables = {**os.environ, "CHEXNET_ONEDNN": "off" if task == "paddle" else ""}
    command = [sys.executable, __file__, "--task", task, "--films", str(films)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables)
    seconds = float(child.stdout.read().split()[-1])
    _, _, usage = os.wait4(child.pid, 0)
    return seconds, usage.ru_maxrss // 1024


def main(args):
    if args.task:
        run(args.task, args.films)
        return
    found = {"ours": [], "paddle": [], "torch": []}
    for _ in range(args.rounds):
        for task, rounds in found.items():
            rounds.append(measure(task, args.films))
            print(f"{task}: {rounds[-1][0]:.2f} s", file=sys.stderr)
    names = {"ours": "this project", "paddle": "Paddle's own kernels", "torch": "PyTorch, eager"}
    lines = ["| who | seconds a step | films a second | peak memory | this project is faster |"]
    lines.append("|---|---|---|---|---|")
    for task, rounds in found.items():
        pairs = zip(rounds, found["ours"], strict=True)
        ratio = statistics.median(theirs / ours for (theirs, _), (ours, _) in pairs)
        seconds, memory = (statistics.median(column) for column in zip(*rounds, strict=True))
        times = "" if task == "ours" else f"{ratio:.2f} times"
        rate = args.films / seconds
        lines.append(f"| {names[task]} | {seconds:.2f} | {rate:.1f} | {memory:.0f} MiB | {times} |")
    import torch

    from kernels import onednn

    text = (
        f"# Results of `benchmarks/training_step.py`\n\n{machine()}, {onednn.describe()}, torch "
        f"{torch.__version__}, {os.getloadavg()[0]:.1f} processes in the last minute. "
        f"{args.films} films of {SIDE} pixels, float32; medians of {args.rounds} rounds in which "
        "the three take turns.\n\n" + "\n".join(lines)
    )
    print(text)
    write_section(text, args.output)


if __name__ == "__main__":
    command_line.run(main, parse_args())
