"""Films in, probabilities and heat maps out. Not for clinical use.

    python predict.py film.png more.png --weights pretrained_models/model_from_torch.pdparams

prints a table for each film and writes predictions.csv and, for its three likeliest findings, a
picture of the film beside the film under its heat map. `--serve` opens a page to drop films on.
"""

import collections
import importlib.util
import os
import sys

import cli  # before Paddle

import numpy as np
import paddle
from tqdm import tqdm

from activation_maps import TenCropMaps, heat_map
from dataset import CLASS_NAMES, read_film
from files import UserError, write_whole
from inference import load_network
from model import CheXNet, load_weights
from operating_points import read_thresholds
from predictions import write_predictions


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    parser.add_argument("films", nargs="*", metavar="FILM", help="PNG or JPEG files")
    parser.add_argument(
        "--weights", default="pretrained_models/best_model_via_this_project.pdparams"
    )
    parser.add_argument("--output-dir", default="predicted")
    parser.add_argument("--resize", type=cli.positive_int, default=256, help="short side of a film")
    parser.add_argument("--crop-size", type=cli.positive_int, default=224, help="side of a crop")
    parser.add_argument("--device", choices=["auto", "gpu", "cpu"], default="auto")
    parser.add_argument(
        "--thresholds", metavar="JSON", help="metrics.json of eval.py --thresholds-from"
    )
    # Which findings get a heat map
    parser.add_argument(
        "--top", type=cli.natural_int, default=3, help="so many of the likeliest; 0: none"
    )
    parser.add_argument("--classes", help="these instead, with commas between")
    # The page
    parser.add_argument("--serve", action="store_true", help="open a page (pip install streamlit)")
    parser.add_argument("--host", default="127.0.0.1", help="address it listens on")
    parser.add_argument("--port", type=cli.positive_int, default=8501)
    args = parser.parse_args()
    args.classes = args.classes.split(",") if args.classes else []
    for name in args.classes:
        if name not in CLASS_NAMES:
            parser.error(f"--classes: want some of {','.join(CLASS_NAMES)}, got {name!r}")
    if bool(args.films) == args.serve:
        parser.error("want films, or --serve")
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    if args.serve:
        return serve(args)
    twice = [n for n, k in collections.Counter(map(os.path.basename, args.films)).items() if k > 1]
    if twice:
        raise UserError(f"{twice[0]}: want films of different names, got it twice; rename one")
    thresholds = read_thresholds(args.thresholds) if args.thresholds else None
    films = [read_film(path, args.resize) for path in args.films]  # a bad one is told before work
    cli.set_device(args.device)
    network = load_network(args.weights, args.crop_size)
    layer = TenCropMaps(network, args.crop_size)
    probs = []
    os.makedirs(args.output_dir, exist_ok=True)
    for path, film in zip(tqdm(args.films, unit="film"), films, strict=True):
        row, pictures = look(layer, path, film, args)
        probs.append(row)
        show(path, row, thresholds)
        for name, picture in pictures.items():
            target = f"{os.path.splitext(os.path.basename(path))[0]}_{name}.png"
            with write_whole(os.path.join(args.output_dir, target)) as file:
                picture.save(file, "PNG")
    names = [os.path.basename(path) for path in args.films]
    write_predictions(os.path.join(args.output_dir, "predictions.csv"), names, probs)
    print(f"wrote {args.output_dir}; not for clinical use", file=sys.stderr)


def look(layer, path, film, args):
    """Return the probabilities of a film, float32 `[14]`, and the pictures that are wanted."""
    with paddle.no_grad():
        probs, maps = (x.numpy()[0] for x in layer(paddle.to_tensor(film[np.newaxis])))
    likeliest = [CLASS_NAMES[c] for c in np.argsort(-probs, kind="stable")[: args.top]]
    whole = read_film(path, None)[0]
    wanted = args.classes or likeliest
    return probs, {name: heat_map(whole, maps[CLASS_NAMES.index(name)]) for name in wanted}


def show(path, probs, thresholds):
    """Print the probabilities of a film, the likeliest first, beside their thresholds."""
    tqdm.write(path)
    for c in np.argsort(-probs, kind="stable"):
        name, decision = CLASS_NAMES[c], ""
        if thresholds:
            decision = "positive" if probs[c] >= thresholds[name] else "negative"
            decision = f"  threshold {thresholds[name]:.4f}  {decision}"
            if np.isnan(thresholds[name]):
                decision = "  threshold nan"
        tqdm.write(f"  {name:<18} {probs[c]:.4f}{decision}")


def serve(args):
    """Become the server of page.py: Streamlit, as its own command line starts it.

    Streamlit keeps what is dropped on it in memory, where Gradio writes it to a folder.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise UserError("--serve: want Streamlit, got a Python without it; pip install streamlit")
    load_weights(CheXNet(), args.weights)  # what is wrong with them is said here
    if args.thresholds:
        read_thresholds(args.thresholds)
    settings = {
        "server.address": args.host,
        "server.port": args.port,
        "server.headless": "true",  # open no browser
        "server.maxUploadSize": 20,  # MB
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
    }
    options = [f"--{name}={value}" for name, value in settings.items()]
    ours = ["--weights", args.weights, "--resize", str(args.resize)]
    ours += ["--crop-size", str(args.crop_size), "--device", args.device]
    ours += ["--thresholds", args.thresholds] if args.thresholds else []
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "page.py")
    command = [sys.executable, "-m", "streamlit", "run", page, *options, "--", *ours]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    cli.run(main)
