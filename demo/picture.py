"""Draw the picture of README.md: phantom films under their heat maps, and AUROCs with intervals.

python demo/picture.py --data-dir demo/data --result demo/picture/result --weights demo/picture/save/best_model.pdparams docs/picture.png
"""  # noqa: E501  (a command in one line)

import io
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from runtime import command_line


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("output", help="PNG file to write")
    parser.add_argument("--data-dir", default="demo/data", help="folder of the phantoms")
    parser.add_argument("--result", required=True, help="folder that eval.py wrote of them")
    parser.add_argument("--weights", required=True, help="what eval.py evaluated")
    parser.add_argument(
        "--findings", default="Mass,Effusion,Pneumonia", help="which heat maps are shown"
    )
    command_line.add_size_arguments(parser)
    return parser.parse_args()


if __name__ == "__main__":
    ARGS = parse_args()

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from dataset import ChestXray14
from evaluation.heat_maps import MapSource
from evaluation.predictions_csv import read_predictions
from evaluation.report_plots import CHANCE, OURS, STYLE
from films.label_lists import CLASS_NAMES
from inference.activation_maps import heat_map
from inference.engine import load_network
from runtime.devices import set_device
from runtime.files import write_whole
from weights.trained_sizes import choose_sizes

SIDE = 320  # of a film in the picture, pixels


def main(args):
    set_device("cpu")
    args.resize, args.crop_size = choose_sizes(args.weights, args.resize, args.crop_size)
    test_list = os.path.join(args.data_dir, "labels", "test_list.txt")
    films = ChestXray14(args.data_dir, test_list, resize=args.resize)
    probs = read_predictions(os.path.join(args.result, "predictions.csv"), films.names)
    with open(os.path.join(args.result, "metrics.json"), encoding="utf-8") as file:
        metrics = json.load(file)
    chosen = []
    for finding in args.findings.split(","):
        c = CLASS_NAMES.index(finding)
        positive = np.flatnonzero(films.labels[:, c])
        chosen.append((int(positive[np.argmax(probs[positive, c])]), c))
    network = load_network(args.weights, args.crop_size)
    maps = MapSource(network, films, args.crop_size).of(chosen)

    with rc_context({**STYLE, "font.size": 9}):
        figure = Figure((12, 6.3), dpi=100)
        for row, (film, c) in enumerate(chosen):
            with Image.open(films.paths[film]) as image:
                pixels = np.asarray(image.convert("L").resize((SIDE, SIDE)))
            axes = figure.add_axes((0.01, 0.68 - 0.33 * row, 0.36, 0.28))
            axes.imshow(heat_map(pixels, maps[film, c], CLASS_NAMES[c], probs[film, c]))
            axes.set_title(
                f"{CLASS_NAMES[c]}: probability {probs[film, c]:.2f}", y=1.0, fontsize=9, loc="left"
            )
            axes.axis("off")
        draw_aurocs(figure.add_axes((0.5, 0.1, 0.48, 0.78)), metrics)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png")
    with write_whole(args.output) as file:  # without transparency and packed well: smaller
        Image.open(drawn).convert("RGB").save(file, format="PNG", optimize=True)
    print(f"wrote {args.output}, {os.path.getsize(args.output) / 1000:.0f} kB")


def draw_aurocs(axes, metrics):
    """Draw the AUROC of each class with its interval."""
    y = np.arange(len(CLASS_NAMES))
    bounds = np.array([metrics["auroc_95_percent"][name] for name in CLASS_NAMES], float)
    values = np.array([metrics["auroc"][name] for name in CLASS_NAMES], float)
    axes.hlines(y, bounds[:, 0], bounds[:, 1], color=OURS, linewidth=2)
    axes.plot(values, y, "o", color=OURS, clip_on=False)
    axes.axvline(0.5, color=CHANCE, linestyle=":", linewidth=1)
    axes.set_yticks(y, CLASS_NAMES)
    axes.invert_yaxis()
    axes.set_xlim(0.45, 1)
    low, high = metrics["auroc_mean_95_percent"]
    axes.set_title(
        f"{metrics['images']} phantom films of {metrics['patients']} made-up patients\n"
        f"average AUROC {metrics['auroc_mean']:.3f} ({low:.3f} to {high:.3f})",
        fontsize=10,
    )
    axes.set_xlabel("AUROC and its 95 % interval; dotted: chance")


if __name__ == "__main__":
    command_line.run(main, ARGS)
