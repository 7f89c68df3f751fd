"""The sizes of films and crops that weights were trained with, from the file that says so."""

import json
import os
import re
import sys

from runtime import command_line
from runtime.files import UserError, first_line

USUAL = {"resize": 256, "crop_size": 224}  # pixels


def set_sizes(args):
    """Fill in --resize and --crop-size where they were not given, and say where they come from.

    Where they were given, and differ from the training's, a warning says so.

    Args:
        args: with `weights`, `resize` and `crop_size`; the last two are set.

    Raises:
        UserError: the crop does not fit into the film, or config.json is broken.
    """
    trained, source = trained_sizes(args.weights)
    for key, usual in USUAL.items():
        given, option = getattr(args, key), f"--{key.replace('_', '-')}"
        wanted = trained.get(key, usual)
        setattr(args, key, given or wanted)
        if given and trained and given != wanted:
            print(
                f"warning: {option} {given}, but the weights were trained with {wanted} "
                f"({source}): expect lower AUROCs",
                file=sys.stderr,
            )
    if trained and trained != USUAL:
        print(
            f"{source}: trained with --resize {trained['resize']} "
            f"--crop-size {trained['crop_size']}",
            file=sys.stderr,
        )
    command_line.check_sizes(args)


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
    if weights.endswith(".safetensors") and os.path.isfile(weights):
        found, source = _metadata(weights), weights
    else:
        folder = os.path.dirname(weights)
        if re.fullmatch(r"epoch_\d+(_step_\d+)?", os.path.basename(folder)):
            folder = os.path.dirname(folder)
        source = os.path.join(folder, "config.json")
        found = _config(source)
    try:
        return {key: int(found[key]) for key in USUAL}, source
    except (KeyError, TypeError, ValueError):
        return {}, None


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
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        raise UserError(
            f"{path}: want the config.json of train.py, could not read it ({first_line(error)}); "
            "remove it, and give --resize and --crop-size"
        ) from None
