"""The sizes of films and crops that weights were trained with, from the file that says so."""

import json
import os
import re
import sys

from runtime import command_line
from runtime.files import UserError, first_line

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
    found, source = _written_at_training(weights)
    trained = found.get("window")
    if _is_window(trained) and trained != window:
        given = f"--window {shown_window(window)}" if window else "no --window"
        print(
            f"warning: {given}, but the weights were trained with --window "
            f"{shown_window(trained)} ({source}): films of that kind "
            "come out otherwise than in training",
            file=sys.stderr,
        )


def shown_window(window):
    """Return a window as it is given to --window."""
    return ",".join(repr(float(number)).removesuffix(".0") for number in window)


def _is_window(found):
    is_pair = isinstance(found, list) and len(found) == 2
    return is_pair and all(isinstance(number, (int, float)) for number in found)


def trained_sizes(weights):
    """Read the sizes that weights were trained with.

    They are in the config.json that train.py leaves beside best_model.pdparams and above each
    checkpoint's folder, and in the metadata of a .safetensors file of export.py.

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


def _written_at_training(weights):
    """Return what a file says of the training of weights, a dict, and the path of that file."""
    if weights.endswith(".safetensors") and os.path.isfile(weights):
        return _metadata(weights), weights
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
