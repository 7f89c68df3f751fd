"""Measure memory and time of a training step with --recompute and without, by Paddle's operators.

    python benchmarks/training_memory.py

as Paddle's allocator counts on a CPU: what the forward pass keeps for each film until its gradients
are known, the most that the step takes for each, and seconds. Each way has a process of its own;
they take turns for several rounds. A card runs other kernels of the same operators, and its
allocator rounds up.
"""

import json
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

import numpy as np
from ours import training_batch
from results_file import run, table

from runtime import command_line, environment  # before Paddle
from runtime.command_line import positive_int

SIDE, FEW, MANY = 224, 4, 12


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--measure", choices=["keep", "recompute"], help="measure this one only")
    return parser.parse_args()


def measure(recomputes):
    """Return kept and taken bytes of a film, and CPU seconds and seconds of a step of MANY."""
    environment.compute_on_cores()
    import paddle
    from paddle.base import core

    from model import CheXNet, LogLoss
    from training.recipe import make_optimizer

    network, loss_of = CheXNet(), LogLoss()
    network.recomputes = recomputes
    network.train()
    adam, _ = make_optimizer(network, 1e-3)
    rng = np.random.default_rng(0)

    def step(films):
        pixels, labels = map(paddle.to_tensor, training_batch(rng, films, SIDE))
        before = core.host_memory_stat_current_value("Allocated", 0)
        core.host_memory_stat_reset_peak_value("Allocated", 0)
        start, processor = time.perf_counter(), time.process_time()
        loss = loss_of(network(pixels), labels)
        kept = core.host_memory_stat_current_value("Allocated", 0) - before
        loss.backward()
        adam.step()
        adam.clear_grad(set_to_zero=False)
        seconds = time.process_time() - processor, time.perf_counter() - start
        return kept, core.host_memory_stat_peak_value("Allocated", 0) - before, *seconds

    step(FEW)  # Adam's moments are made
    few, many, again = step(FEW), step(MANY), step(MANY)
    kept, taken = (
        (more - less) / (MANY - FEW) for less, more in zip(few[:2], many[:2], strict=True)
    )
    return kept, taken, *map(min, many[2:], again[2:])


def main(args):
    if args.measure:
        print(json.dumps(measure(args.measure == "recompute")))
        return
    found = {"keep": [], "recompute": []}
    for _ in range(args.rounds):
        for way, rounds in found.items():
            line, _ = run([sys.executable, __file__, "--measure", way], CHEXNET_ONEDNN="off")
            rounds.append(json.loads(line))
            print(way, rounds[-1], file=sys.stderr)
    print(f"{MANY} films of {SIDE} pixels, float32, {args.rounds} rounds: medians.\n")
    keep, recompute = (np.median(rounds, axis=0) for rounds in found.values())
    units = np.array([2**20, 2**20, 1, 1])
    rows = [("keep", keep / units), ("recompute", recompute / units), ("ratio", recompute / keep)]
    heads = ["way", "kept, MiB a film", "taken, MiB a film", "CPU seconds a step", "seconds"]
    print(table(heads, [[way, *(f"{value:.2f}" for value in values)] for way, values in rows]))


if __name__ == "__main__":
    command_line.run(main, parse_args())
