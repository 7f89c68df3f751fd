"""What a training step takes of a device's memory, told before it runs out."""

import sys

import paddle

from runtime.devices import free_memory, print_on_first_rank
from runtime.files import UserError

GIB = 2**30
# Of one film of 224 x 224 pixels in float32: what Paddle's operators keep of it for the backward
# pass, and with --recompute the most that it takes, as Paddle's allocator counts on a CPU
# (benchmarks/training_memory.py). It grows with the number of pixels; half precision halves it.
FILM, FILM_RECOMPUTED = 122.9 * 2**20, 37.9 * 2**20
WEIGHTS = 4 * 4 * 6_968_206  # in float32: parameters, their gradients, and Adam's two moments


# Paddle 2.6.2 ends the process where a ReLU's output is to be computed again.
CAN_RECOMPUTE = not paddle.__version__.startswith("2")


def check_recompute():
    """Raise UserError where --recompute cannot be had."""
    if not CAN_RECOMPUTE:
        raise UserError(
            f"--recompute: want Paddle 3, got {paddle.__version__}; leave it out, and give "
            "--amp O1 or a smaller --batch-size"
        )


def step_memory(films, crop_size, half=False, recompute=False):
    """Return the bytes that a training step takes at least, beside what cuDNN works in.

    Args:
        films: in a batch of one process.
        crop_size: side of a film, pixels.
        half: computed in float16 or bfloat16.
        recompute: with --recompute.
    """
    film = FILM_RECOMPUTED if recompute else FILM
    return WEIGHTS + films * film * (crop_size / 224) ** 2 / (2 if half else 1)


def warn_of_memory(films, crop_size, half, recompute):
    """Print a warning where a step takes more than the device has free, and what would fit.

    Args: as for `step_memory`. Nothing is printed where Paddle does not tell what is free.
    """
    if (free := free_memory()) is None:
        return
    if text := why_too_much(free, films, crop_size, half, recompute):
        print_on_first_rank(f"warning: {text}", file=sys.stderr)


def why_too_much(free, films, crop_size, half, recompute):
    """Return what does not fit into so many free bytes, and what would; "" where it fits."""
    need = step_memory(films, crop_size, half, recompute)
    if need <= free:
        return ""
    ways = []
    not_to_add = {"--amp O1": half, "--recompute": recompute or not CAN_RECOMPUTE}
    for words in (["--amp O1"], ["--recompute"], ["--amp O1", "--recompute"]):
        if any(not_to_add[word] for word in words):
            continue
        options = half or "--amp O1" in words, recompute or "--recompute" in words
        if (takes := step_memory(films, crop_size, *options)) <= free:
            ways.append(f"{' '.join(words)} ({takes / GIB:.1f} GiB)")
    fitting = int((free - WEIGHTS) / (need - WEIGHTS) * films)
    if fitting > 0:
        ways.append(f"--batch-size {fitting}")
    remedy = f"what fits: {', '.join(ways)}" if ways else "nothing fits: use another device"
    return (
        f"--batch-size {films} takes at least {need / GIB:.1f} GiB, "
        f"{free / GIB:.1f} GiB are free; {remedy} (docs/gpus.md)"
    )
