"""Evaluate a checkpoint on ChestX-ray14 with ten crops: the per-class AUROC table.

    python eval.py --data-dir ChestX-ray14 --weights pretrained_models/model_from_torch.pdparams

ends with a line for each class, the last one being

    The AUROC of Hernia is <AUROC>

and, on stderr, how sure each is: a 95 % interval by bootstrap over patients. Without a network:

    python eval.py --predictions result/predictions.csv
    python eval.py --compare a/predictions.csv b/predictions.csv
"""

import contextlib
import os
import platform
import sys
import tempfile

import cli  # before Paddle

import numpy as np
import paddle
import PIL
from tqdm import tqdm

from activation_maps import TenCropMaps, resize_map
from callbacks import BatchBar
from checkpoints import is_first_rank
from dataset import CLASS_NAMES, CenterCrop, ChestXray14, patient, read_film, read_label_list
from files import UserError, sha256, write_json
from inference import CPUPredictor, has_bfloat16
from loader import FilmLoader
from metrics import Predictions
from model import AutoCast, CheXNet, TenCrop, load_weights
from nih_tables import BOX_GRID, read_boxes, read_data_entry, subgroups
from operating_points import choose_thresholds
from predictions import read_predictions, write_predictions
from report import Example, choose_examples, write_report
from results import (
    measure,
    measure_difference,
    measure_localization,
    measure_subgroups,
    measure_thresholds,
)
from tables import (
    show_aurocs,
    show_difference,
    show_localization,
    show_subgroups,
    show_thresholds,
)

EXAMPLE_SIDE = 320  # of a film on the page, pixels


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    cli.add_data_arguments(parser)
    parser.add_argument("--test-list", help="default: that of --split")
    parser.add_argument(
        "--weights", default="pretrained_models/best_model_via_this_project.pdparams"
    )
    parser.add_argument("--crops", type=int, choices=[10, 1], default=10)
    parser.add_argument(
        "--precision",
        choices=["fp32", "bf16", "fp16"],
        default="fp32",
        help="of the backbone; fp16 needs a GPU, bf16 a GPU or a processor with AVX512-BF16 or AMX",
    )
    parser.add_argument(
        "--output-dir", help="write predictions.csv, metrics.json and report.html there as well"
    )
    # How sure
    parser.add_argument(
        "--bootstrap", type=cli.natural_int, default=1000, help="resamples for intervals; 0: none"
    )
    parser.add_argument("--seed", type=cli.natural_int, default=0, help="of the resamples")
    # Decisions
    parser.add_argument(
        "--thresholds-from", metavar="CSV", help="choose thresholds on these, of validation films"
    )
    parser.add_argument("--thresholds-list", help="their labels; default: that of --split")
    parser.add_argument("--threshold-rule", choices=["youden", "f1"], default="youden")
    # Whom, and where
    parser.add_argument(
        "--data-entry",
        metavar="CSV",
        help="NIH's table, for results by sex, age and view; "
        "default: labels/Data_Entry_2017_v2020.csv if it is there",
    )
    parser.add_argument(
        "--boxes", metavar="CSV", help="NIH's BBox_List_2017.csv: score heat maps of test films"
    )
    # Instead of a network
    parser.add_argument("--predictions", metavar="CSV", help="take these")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="compare two of those")
    args = parser.parse_args()
    args.test_list = args.test_list or cli.label_list(args, "test")
    if args.thresholds_from:
        args.thresholds_list = args.thresholds_list or cli.label_list(args, "val")
    if args.data_entry is None:
        default = os.path.join(args.data_dir, "labels", "Data_Entry_2017_v2020.csv")
        args.data_entry = default if os.path.exists(default) else None
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    if args.boxes and (args.predictions or args.compare):
        raise UserError("--boxes: want a network to ask for heat maps, got predictions; --weights")
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=args.output_dir):  # fails now, not after hours of work
            pass
    if args.compare:
        return compare(args)
    thresholds = read_thresholds(args) if args.thresholds_from else None
    entries = read_data_entry(args.data_entry) if args.data_entry else None
    boxes = read_test_boxes(args) if args.boxes else []
    films = network = None
    if args.predictions:
        names, labels = read_label_list(args.test_list)
        probs = read_predictions(args.predictions, names)
        source = {"predictions": {"path": args.predictions, "sha256": sha256(args.predictions)}}
    else:
        films, probs, source, network = run_network(args)
        names, labels = films.names, films.labels
    if not is_first_rank():
        return

    if args.output_dir:
        write_predictions(os.path.join(args.output_dir, "predictions.csv"), names, probs)
    bootstrap = {"resamples": args.bootstrap, "seed": args.seed}
    metrics = measure(names, labels, probs, **bootstrap)
    show_aurocs(metrics)
    if thresholds is not None:
        metrics["thresholds"] = {
            "from": {"path": args.thresholds_from, "sha256": sha256(args.thresholds_from)},
            "rule": args.threshold_rule,
            **measure_thresholds(names, labels, probs, thresholds, **bootstrap),
        }
        show_thresholds(metrics["thresholds"])
    if entries:
        groups = subgroups(names, entries)
        metrics["subgroups"] = measure_subgroups(names, labels, probs, groups, **bootstrap)
        show_subgroups(metrics["subgroups"])
    maps = {}
    if boxes:
        maps = draw_maps(args, network, films, indices(names, boxes))
        metrics["localization"] = {
            "boxes": {"path": args.boxes, "sha256": sha256(args.boxes)},
            "films": len({box.film for box in boxes}),
            "by_class": localize(names, boxes, maps),
        }
        show_localization(metrics["localization"])
    if args.output_dir:
        metrics |= {
            "test_list": {"path": args.test_list, "sha256": sha256(args.test_list)},
            **source,
            "versions": {
                "python": platform.python_version(),
                "paddle": paddle.__version__,
                "numpy": np.__version__,
                "pillow": PIL.__version__,
            },
        }
        write_json(os.path.join(args.output_dir, "metrics.json"), metrics)
        examples = draw_examples(args, network, films, probs, boxes, maps) if network else []
        write_report(args.output_dir, metrics, names, labels, probs, examples)


def read_thresholds(args):
    """Choose thresholds on the films of --thresholds-from, none of whose patients is tested."""
    names, labels = read_label_list(args.thresholds_list)
    probs = read_predictions(args.thresholds_from, names, "--thresholds-list")
    tested = {patient(name) for name in read_label_list(args.test_list)[0]}
    shared = [name for name in names if patient(name) in tested]
    if shared:
        raise UserError(
            f"{args.thresholds_from}: want patients that are not in {args.test_list}, got "
            f"{len(shared)} films of such, {shared[0]} first; thresholds are never chosen on test"
        )
    return choose_thresholds(labels, probs, args.threshold_rule)


def read_test_boxes(args):
    """Return the boxes of --boxes that are on test films: the network was trained on the others."""
    boxes, tested = read_boxes(args.boxes), set(read_label_list(args.test_list)[0])
    found = [box for box in boxes if box.film in tested]
    if not found:
        raise UserError(
            f"{args.boxes}: want boxes on films of {args.test_list}, got none of its {len(boxes)}; "
            "give another list"
        )
    print(
        f"{len(found)} of the {len(boxes)} boxes of {args.boxes} are on test films", file=sys.stderr
    )
    return found


def run_network(args):
    """Return test films, their probabilities, what those depend on, and a network to draw maps."""
    # Of several processes (paddle.distributed.launch) each takes its share, and one prints.
    tell = print if is_first_rank() else lambda *words, **options: None
    device = cli.set_device(args.device, args.autotune)
    tell("=> loading checkpoint")
    network = CheXNet(len(CLASS_NAMES))
    load_weights(network, args.weights)
    tell("=> loaded checkpoint", flush=True)

    films = ChestXray14(
        args.data_dir,
        args.test_list,
        transform=None if args.crops == 10 else CenterCrop(args.crop_size),
        resize=args.resize,
    )
    tell(f"films come from {films.source}", file=sys.stderr)
    fast, precision, engine = accelerated(network, args, device)
    probs = predict(TenCrop(fast, args.crop_size) if args.crops == 10 else fast, films, args)
    source = {
        "weights": {"path": args.weights, "sha256": sha256(args.weights)},
        "crops": args.crops,
        "crop_size": args.crop_size,
        "resize": args.resize,
        "precision": precision,
        "device": device,
        "engine": engine,
    }
    return films, probs, source, fast if device == "cpu" else network


def accelerated(network, args, device):
    """Return the network as fast as the device runs it, the precision it has, and what runs it."""
    if device != "cpu":
        dtype = {"bf16": "bfloat16", "fp16": "float16"}.get(args.precision)
        return (AutoCast(network, dtype) if dtype else network), args.precision, "dygraph"
    precision = args.precision
    if precision == "fp16":
        raise UserError("--precision: want fp32 or bf16 on a CPU, got fp16; use another, or a GPU")
    if precision == "bf16" and not has_bfloat16():
        print("this processor has no AVX512-BF16 or AMX: computing in fp32", file=sys.stderr)
        precision = "fp32"
    predictor = CPUPredictor(network, args.crop_size, precision)
    if predictor.engine != "openvino":
        print("this Paddle has no OpenVINO engine: using oneDNN", file=sys.stderr)
    return predictor, precision, predictor.engine


def predict(network, films, args):
    """Return the probabilities of all films, float32 `[N, 14]`, with a bar over the batches."""
    model = paddle.Model(
        network,
        inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
        labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
    )
    collected = Predictions()
    model.prepare(metrics=collected)
    sampler = paddle.io.DistributedBatchSampler(films, args.batch_size)
    loader = FilmLoader(films, batch_sampler=sampler, num_workers=args.num_workers)
    with paddle.no_grad(), contextlib.closing(BatchBar()) as bar:
        model.evaluate(loader, verbose=0, callbacks=[bar])
    return np.concatenate(collected.probs)


def localize(names, boxes, maps):
    """Return how well heat maps, as `draw_maps` returns them, find boxes, class by class."""
    of_boxes = (maps[index] for index in indices(names, boxes))
    return measure_localization(boxes, (resize_map(m, BOX_GRID, BOX_GRID) for m in of_boxes))


def indices(names, boxes):
    """Return (index of the film, index of the class) of each box."""
    places = {name: n for n, name in enumerate(names)}
    return [(places[box.film], CLASS_NAMES.index(box.finding)) for box in boxes]


def draw_maps(args, network, films, wanted):
    """Return ten-crop class activation maps.

    Args:
        network: a `CheXNet`, or a `CPUPredictor` of one.
        films: a `ChestXray14`.
        wanted: list of (index of a film, index of a class).

    Returns:
        dict from each of `wanted` to its map, float32 `[H, W]`, for films resized to --resize.
    """
    maps, layer = {}, TenCropMaps(network, args.crop_size)
    layer.eval()
    wanted_of = {}
    for film, c in wanted:
        wanted_of.setdefault(film, set()).add(c)
    with paddle.no_grad():
        for film, classes in tqdm(wanted_of.items(), desc="heat maps", unit="film"):
            pixels = read_film(films.paths[film], args.resize)
            found = layer(paddle.to_tensor(pixels[np.newaxis]))[1].numpy()[0]  # [C, H, W]
            # A view would keep the other classes' maps as well.
            maps.update({(film, c): found[c].copy() for c in classes})
    return maps


def draw_examples(args, network, films, probs, boxes, maps):
    """Return what the report shows, a list of `Example`; `maps` are those drawn already."""
    frames = {}
    for index, box in zip(indices(films.names, boxes), boxes, strict=True):
        frame = np.array([box.left, box.top, box.right, box.bottom]) * EXAMPLE_SIDE / BOX_GRID
        frames.setdefault(index, []).append(frame)
    chosen = choose_examples(films.labels, probs, list(frames))
    left = [(film, c) for _, film, c in chosen if (film, c) not in maps]
    maps = maps | draw_maps(args, network, films, left)
    return [
        Example(
            *(kind, film, c),
            pixels=read_film(films.paths[film], EXAMPLE_SIDE)[0],
            activation=maps[film, c],
            boxes=frames.get((film, c), []),
        )
        for kind, film, c in chosen
    ]


def compare(args):
    """Print how two networks differ on the same films: A less B, class by class."""
    names, labels = read_label_list(args.test_list)
    a, b = (read_predictions(path, names) for path in args.compare)
    figures = measure_difference(names, labels, a, b, args.bootstrap, args.seed)
    show_difference(figures, *args.compare)
    if args.output_dir:
        paths = dict(zip("ab", args.compare, strict=True))
        sources = {key: {"path": path, "sha256": sha256(path)} for key, path in paths.items()}
        write_json(os.path.join(args.output_dir, "comparison.json"), sources | figures)


if __name__ == "__main__":
    cli.run(main)
