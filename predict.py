"""Films in, probabilities and heat maps out. Not for clinical use.

    python predict.py film.png more.png --weights pretrained_models/model_from_torch.pdparams

prints a table for each film and writes predictions.csv and, for its three likeliest findings, a
picture of the film beside the film under its heat map. `--serve` opens a page to drop films on.
"""

import collections
import os
import sys

from runtime import command_line
from runtime.command_line import natural_int, positive_int

EXAMPLES = """\
  python predict.py film.png --weights save/best_model.pdparams --classes Effusion,Mass
  python predict.py --serve --weights save/best_model.pdparams    # a page on 127.0.0.1:8501
"""


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    parser.add_argument("films", nargs="*", metavar="FILM", help="PNG or JPEG files")
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weights",
        default="pretrained_models/best_model_via_this_project.pdparams",
        help=".pdparams or .safetensors file",
    )
    command_line.add_size_arguments(network)
    command_line.add_device_argument(network)
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir", default="predicted", help="folder for predictions.csv and pictures"
    )
    output.add_argument(
        "--top",
        type=natural_int,
        default=3,
        help="heat maps of how many of the likeliest findings; 0: none",
    )
    output.add_argument(
        "--classes", metavar="NAME,NAME", help="heat maps of these findings, instead of --top"
    )
    output.add_argument(
        "--thresholds",
        metavar="JSON",
        help="metrics.json of eval.py --thresholds-from: add a decision to each probability",
    )
    page = parser.add_argument_group("page")
    page.add_argument(
        "--serve", action="store_true", help="open a page to drop films on (pip install streamlit)"
    )
    page.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="where it listens")
    page.add_argument("--port", type=positive_int, default=8501, help="where it listens")
    args = parser.parse_args()
    args.classes = args.classes.split(",") if args.classes else []
    if bool(args.films) == args.serve:
        parser.error("give films, or --serve")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle

from dataset import CLASS_NAMES, read_film
from evaluation.operating_points import read_thresholds
from evaluation.predictions_csv import film_names, write_predictions
from inference.activation_maps import TenCropMaps, heat_map
from inference.engine import load_network
from inference.film_sizes import set_sizes
from runtime.devices import set_device
from runtime.files import UserError, write_whole
from runtime.progress import progress_bar
from serving.server import serve


def main(args):
    for name in args.classes:
        if name not in CLASS_NAMES:
            raise UserError(f"--classes: want some of {','.join(CLASS_NAMES)}, got {name!r}")
    thresholds = read_thresholds(args.thresholds) if args.thresholds else None
    if args.serve:
        set_sizes(args)
        return serve(args)
    twice = [n for n, k in collections.Counter(map(os.path.basename, args.films)).items() if k > 1]
    if twice:
        raise UserError(f"{twice[0]}: want films of different names, got it twice; rename one")
    set_sizes(args)
    films = [
        read_film(path, args.resize) for path in args.films
    ]  # a bad one ends it before any work
    set_device(args.device)
    layer = TenCropMaps(load_network(args.weights, args.crop_size), args.crop_size)
    os.makedirs(args.output_dir, exist_ok=True)
    table = os.path.join(args.output_dir, "predictions.csv")
    remove_pictures(table)
    probs, bar = [], progress_bar(args.films, unit="film")
    for path, film in zip(bar, films, strict=True):
        row, pictures = look(layer, path, film, args)
        probs.append(row)
        show(bar, path, row, thresholds)
        for finding, picture in pictures.items():
            target = picture_name(os.path.basename(path), finding)
            with write_whole(os.path.join(args.output_dir, target)) as file:
                picture.save(file, "PNG")
    write_predictions(table, [os.path.basename(path) for path in args.films], probs)
    print(f"wrote {table}, and pictures beside it; not for clinical use", file=sys.stderr)


def picture_name(film, finding):
    """Return the file name of a film's heat map."""
    return f"{os.path.splitext(film)[0]}_{finding}.png"


def remove_pictures(table):
    """Remove the pictures of the films in a predictions.csv that is about to be replaced."""
    for film in film_names(table):
        for finding in CLASS_NAMES:
            path = os.path.join(os.path.dirname(table), picture_name(film, finding))
            if os.path.exists(path):
                os.remove(path)


def look(layer, path, film, args):
    """Return the probabilities of a film, float32 `[14]`, and the pictures that are wanted."""
    with paddle.no_grad():
        probs, maps = (x.numpy()[0] for x in layer(paddle.to_tensor(film[np.newaxis])))
    likeliest = [CLASS_NAMES[c] for c in np.argsort(-probs, kind="stable")[: args.top]]
    whole = read_film(path, None)[0]
    wanted = args.classes or likeliest
    return probs, {name: heat_map(whole, maps[CLASS_NAMES.index(name)]) for name in wanted}


def show(bar, path, probs, thresholds):
    """Print the probabilities of a film, the likeliest first, beside their thresholds."""
    bar.clear()
    print(path)
    for c in np.argsort(-probs, kind="stable"):
        name, decision = CLASS_NAMES[c], ""
        if thresholds:
            decision = "positive" if probs[c] >= thresholds[name] else "negative"
            decision = f"  threshold {thresholds[name]:.4f}  {decision}"
            if np.isnan(thresholds[name]):
                decision = "  threshold nan"
        print(f"  {name:<18} {probs[c]:.4f}{decision}", flush=True)


if __name__ == "__main__":
    command_line.run(main, ARGS)
