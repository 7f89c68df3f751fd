"""Sizes of films and crops, and the window, that weights were trained with.

The file that says so is, of best_model.pdparams and of a checkpoint in a folder of its own, the
config.json of train.py; of what export.py wrote as .safetensors, that file; of its NAME.pth,
NAME.torch.metadata.json.
"""

import argparse
import contextlib
import json
import os
import re
import sys

from runtime import command_line
from runtime.files import UserError, first_line, read_json

USUAL = {"resize": 256, "crop_size": 224}  # pixels


def choose_sizes(weights, resize=None, crop_size=None):
    """Return the sizes to use with weights: those that were given, else those of the training.

    It says where they come from, and warns where they differ from the training's.

    Args:
        weights: path of a weight file, which need not exist.
        resize, crop_size: of --resize and --crop-size, pixels; None: not given.

    Returns:
        resize, crop_size: pixels.

    Raises:
        UserError: the crop does not fit into the film, or config.json is broken.
    """
    given = {"resize": resize, "crop_size": crop_size}
    trained, source = trained_sizes(weights)
    chosen = {key: given[key] or trained.get(key, usual) for key, usual in USUAL.items()}
    for key, size in trained.items():
        if chosen[key] != size:
            print(
                f"warning: --{key.replace('_', '-')} {chosen[key]}, but the weights were trained "
                f"with {size} ({source}): expect lower AUROCs",
                file=sys.stderr,
            )
    if trained and trained != USUAL:
        print(
            f"{source}: trained with --resize {trained['resize']} "
            f"--crop-size {trained['crop_size']}",
            file=sys.stderr,
        )
    command_line.check_sizes(**chosen)
    return chosen["resize"], chosen["crop_size"]


def check_window(weights, window):
    """Warn where weights were trained with a --window, and another one or none is given.

    It is not taken over: a window is of one kind of film, and the films may be of another.

    Args:
        weights: path of a weight file, which need not exist.
        window: of --window, or None.
    """
    trained, source = trained_window(weights)
    if trained and trained != window:
        given = f"--window {shown_window(window)}" if window else "no --window"
        print(
            f"warning: {given}, but the weights were trained with --window "
            f"{shown_window(trained)} ({source}): films of that kind "
            "come out otherwise than in training",
            file=sys.stderr,
        )


def choose_window(weights, window=None):
    """Return the window that an export is for: the one given, else that of the training.

    It says so where it is the training's, and warns where another is given.

    Args:
        weights: path of a weight file, which need not exist.
        window: of --window, or None.

    Returns:
        [centre, width], or None.
    """
    trained, source = trained_window(weights)
    if window or not trained:
        check_window(weights, window)
        return window
    print(f"{source}: trained with --window {shown_window(trained)}", file=sys.stderr)
    return trained


def shown_window(window):
    """Return a window as it is given to --window."""
    return ",".join(repr(float(number)).removesuffix(".0") for number in window)


def trained_sizes(weights):
    """Read the sizes that weights were trained with.

    Args:
        weights: path of a weight file, which need not exist.

    Returns:
        sizes: dict with "resize" and "crop_size", pixels; empty where no file has both.
        source: path of the file that has them, or None.

    Raises:
        UserError: config.json is not JSON.
    """
    found, source = _written_at_training(weights)
    try:
        return {key: int(found[key]) for key in USUAL}, source
    except (KeyError, TypeError, ValueError):
        return {}, None


def trained_window(weights):
    """Read the window that weights were trained with.

    Args:
        weights: path of a weight file, which need not exist.

    Returns:
        window: [centre, width], or None.
        source: path of the file that would have it.

    Raises:
        UserError: config.json is not JSON.
    """
    found, source = _written_at_training(weights)
    window = found.get("window")  # numbers in config.json, text in what export.py writes
    with contextlib.suppress(argparse.ArgumentTypeError, TypeError, ValueError):
        text = window if isinstance(window, str) else shown_window(window)
        return command_line.window(text), source
    return None, source


def _written_at_training(weights):
    """Return what a file says of the training of weights, a dict, and the path of that file."""
    if weights.endswith(".safetensors") and os.path.isfile(weights):
        return _metadata(weights), weights
    if weights.endswith(".pth"):
        source = f"{weights.removesuffix('.pth')}.torch.metadata.json"
        return read_json(source), source
    folder = os.path.dirname(weights)
    if re.fullmatch(r"epoch_\d+(_step_\d+)?", os.path.basename(folder)):
        folder = os.path.dirname(folder)
    source = os.path.join(folder, "config.json")
    return _config(source), source


def _metadata(path):
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except SafetensorError:
        return {}  # reading the weights will say what is wrong


def _config(path):
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
            return found if isinstance(found, dict) else {}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise UserError(
            f"{path}: not the config.json of train.py ({first_line(error)}); "
            "remove it, and give --resize and --crop-size"
        ) from None
