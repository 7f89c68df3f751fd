"""Evaluate a checkpoint on ChestX-ray14 with ten crops: the per-class AUROC table.

    python eval.py --data-dir ChestX-ray14 --weights pretrained_models/model_from_torch.pdparams

ends with a line for each class, the last one being

    The AUROC of Hernia is <AUROC>

and, on stderr, how sure each is: a 95 % interval by bootstrap over patients. Without a network:

    python eval.py --predictions result/predictions.csv
    python eval.py --predictions seed0/predictions.csv seed1/predictions.csv    # their mean
    python eval.py --compare a/predictions.csv b/predictions.csv
"""

import contextlib
import os
import sys

from runtime import command_line
from runtime.command_line import natural_int

EXAMPLES = """\
  python eval.py --weights save/best_model.pdparams --output-dir result
  python eval.py --predictions result/predictions.csv --thresholds-from val/predictions.csv
"""
KEPT_FILMS = 1000  # of as many the maps are kept, 27 kB each: of more, a few are drawn anew
DEFAULT_WEIGHTS = "pretrained_models/best_model_via_this_project.pdparams"


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    data = parser.add_argument_group("data and machine")
    command_line.add_data_arguments(data)
    command_line.add_list_arguments(data, ("test",))
    command_line.add_device_argument(data)
    network = parser.add_argument_group("network")
    network.add_argument(
        "--weights", default=DEFAULT_WEIGHTS, help=".pdparams or .safetensors file"
    )
    command_line.add_crops_argument(network)
    command_line.add_size_arguments(network)
    network.add_argument(
        "--precision",
        choices=["fp32", "tf32", "bf16", "fp16"],
        default="fp32",
        help="of the backbone; tf32 and fp16 need a GPU, bf16 a GPU or a processor with "
        "AVX512-BF16 or AMX",
    )
    saved = parser.add_argument_group("instead of a network")
    saved.add_argument(
        "--predictions",
        nargs="+",
        metavar="CSV",
        help="evaluate the predictions.csv of an earlier run, or the mean of several",
    )
    saved.add_argument(
        "--compare",
        nargs="+",
        action="append",
        metavar="CSV",
        help="compare two predictions.csv of the same films, class by class; given twice: the "
        "mean of the first's files with the mean of the second's",
    )
    further = parser.add_argument_group("further figures")
    further.add_argument(
        "--bootstrap",
        type=natural_int,
        help="resamples of the patients for 95%% intervals (default: 1000; with --compare 10000, "
        "so that p-values of 14 classes can be told from each other); 0: no intervals",
    )
    further.add_argument("--seed", type=natural_int, default=0, help="of the resamples")
    further.add_argument(
        "--thresholds-from",
        metavar="CSV",
        help="predictions.csv of validation films, to choose decision thresholds on",
    )
    further.add_argument(
        "--reference-from",
        metavar="CSV",
        help="the same, and write operating_points.json of them: what a probability means, for "
        "predict.py --reference",
    )
    further.add_argument(
        "--thresholds-list",
        "--reference-list",
        metavar="LIST",
        help="label list of those films (default: labels/val_list.txt, or that of --split)",
    )
    further.add_argument(
        "--threshold-rule",
        choices=["youden", "f1"],
        default="youden",
        help="the largest sensitivity + specificity, or the largest F1",
    )
    further.add_argument(
        "--calibration",
        choices=["platt", "isotonic"],
        default="platt",
        help="of --reference-from: a line on the logit, or isotonic, which takes more films",
    )
    further.add_argument(
        "--data-entry",
        metavar="CSV",
        help="NIH's table, for results by sex, age and view "
        "(default: labels/Data_Entry_2017_v2020.csv if it is there)",
    )
    further.add_argument(
        "--boxes", metavar="CSV", help="NIH's BBox_List_2017.csv: score heat maps of test films"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output-dir", help="also write predictions.csv, metrics.json and report.html there"
    )
    output.add_argument(
        "--no-report", action="store_true", help="leave out report.html, its figures and heat maps"
    )
    args = parser.parse_args()
    if args.compare and len(args.compare) == 1:
        args.compare = [[path] for path in args.compare[0]]
    if args.compare and len(args.compare) != 2:
        parser.error("--compare takes two files, or is given twice with the files of each side")
    if args.compare and (args.predictions or args.thresholds_from or args.reference_from):
        parser.error("--compare stands alone: leave --predictions and --...-from out")
    if args.bootstrap is None:
        args.bootstrap = 10_000 if args.compare else 1000
    if args.boxes and (args.predictions or args.compare):
        parser.error("--boxes needs a network for the heat maps: give --weights alone")
    if args.reference_from and args.thresholds_from:
        parser.error("--reference-from chooses thresholds too: leave --thresholds-from out")
    if args.reference_from and not args.output_dir:
        parser.error("--reference-from writes operating_points.json: give --output-dir")
    args.thresholds_from = args.thresholds_from or args.reference_from
    if args.precision == "tf32":
        command_line.allow_tf32(parser, "--precision tf32")
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once

import numpy as np
import paddle

from dataset import CenterCrop, ChestXray14
from evaluation.batch_bar import BatchBar
from evaluation.data_source import describe_data
from evaluation.heat_maps import BoxedFilms, MapSource, draw_examples, too_coarse
from evaluation.measures import (
    measure,
    measure_calibration,
    measure_difference,
    measure_subgroups,
    measure_thresholds,
)
from evaluation.model_card import write_model_card
from evaluation.operating_points import choose_thresholds, read_validation
from evaluation.participant_flow import participant_flow
from evaluation.predictions_csv import mean_predictions
from evaluation.printed_tables import (
    show_aurocs,
    show_calibration,
    show_difference,
    show_localization,
    show_subgroups,
    show_thresholds,
)
from evaluation.reference_values import reference_values
from evaluation.result_folder import (
    begin_results,
    check_folder,
    source_of,
    write_metrics,
    write_report,
)
from films.film_loader import FilmLoader
from films.film_pixels import Reading
from films.label_lists import CLASS_NAMES, read_labels
from inference.activation_maps import KeepingTenCrop
from inference.engine import choose_engine
from metrics import Predictions
from model import CheXNet, TenCrop, load_weights
from public_data.nih_tables import read_data_entry, subgroups
from runtime.devices import describe_device, is_first_rank, print_once, set_device
from runtime.files import file_facts, write_json
from runtime.versions import versions
from weights.trained_sizes import choose_sizes


def main(args):
    find_inputs(args)
    if args.compare:
        return compare(args)
    # Saved predictions need no films: the data folder may be another's.
    beside = os.path.dirname(args.test_list)
    labels_dir = beside if args.predictions else os.path.join(args.data_dir, "labels")
    data = describe_data(args.test_list, labels_dir)
    validation = thresholds = reference = None
    if args.thresholds_from:
        validation, thresholds, reference = learn_from_validation(args)
    entries = read_data_entry(args.data_entry) if args.data_entry else None
    boxed = BoxedFilms(args.boxes, args.test_list) if args.boxes else None
    if boxed:
        found = f"{len(boxed.boxes)} of the {boxed.of_file} boxes of {args.boxes}"
        print(f"{found} are on test films", file=sys.stderr)
    films = maps = None
    if args.predictions:
        names, labels, patients = listed = read_labels(args.test_list)
        probs = mean_predictions(args.predictions, names)
        source = source_of(args.predictions)
    else:
        films, probs, source, maps = run_network(args)
        names, labels, patients = listed = films.listed
    if not is_first_rank():
        return

    if args.output_dir:
        begin_results(args.output_dir, names, probs)
    if reference:
        write_json(os.path.join(args.output_dir, "operating_points.json"), reference)
    bootstrap = {"resamples": args.bootstrap, "seed": args.seed}
    metrics = measure(patients, labels, probs, **bootstrap)
    metrics["flow"] = participant_flow(listed, probs, validation)
    show_aurocs(metrics)
    if thresholds is not None:
        metrics["thresholds"] = {
            "from": file_facts(args.thresholds_from),
            "rule": args.threshold_rule,
            **measure_thresholds(patients, labels, probs, thresholds, **bootstrap),
        }
        show_thresholds(metrics["thresholds"])
    if reference:
        facts = file_facts(args.reference_from)
        metrics["calibration"] = {"from": facts, **measure_calibration(labels, probs, reference)}
        show_calibration(metrics["calibration"])
    if entries:
        groups = subgroups(names, entries)
        metrics |= measure_subgroups(patients, labels, probs, groups, thresholds, **bootstrap)
        show_subgroups(metrics)
    if boxed:
        metrics["localization"] = {
            "boxes": file_facts(args.boxes),
            "films": len({box.film for box in boxed.boxes}),
            "by_class": boxed.measure(maps.of(boxed.indices)),
        }
        show_localization(metrics["localization"])
    if args.output_dir:
        metrics |= {"test_list": file_facts(args.test_list), "data": data}
        metrics |= {**source, "versions": versions()}
        write_metrics(args.output_dir, metrics)
        write_model_card(args.output_dir, metrics)
        if args.no_report:
            print(f"wrote {args.output_dir}/metrics.json", file=sys.stderr)
            return
        examples, why_none = [], "figures from saved predictions have no network to ask"
        if maps:
            why_none = too_coarse(args.crop_size)
            examples = [] if why_none else draw_examples(maps, films, probs, boxed)
        write_report(args.output_dir, metrics, listed, probs, examples, why_none)
        print(f"wrote {args.output_dir}: open {args.output_dir}/report.html", file=sys.stderr)


def find_inputs(args):
    """Fill in the defaults that depend on the data folder; fail now, not after hours of work."""
    args.test_list = args.test_list or command_line.label_list(args.data_dir, args.split, "test")
    if args.thresholds_from:
        args.thresholds_list = args.thresholds_list or command_line.label_list(
            args.data_dir, args.split, "val"
        )
    if args.data_entry is None:
        default = os.path.join(args.data_dir, "labels", "Data_Entry_2017_v2020.csv")
        args.data_entry = default if os.path.exists(default) else None
    if args.output_dir:
        check_folder(args.output_dir, args.predictions)


def learn_from_validation(args):
    """Return validation films, thresholds, and what operating_points.json will hold, or None."""
    lists = args.thresholds_list, args.test_list
    listed, probs = read_validation(args.thresholds_from, *lists)
    _, labels, patients = listed
    thresholds = choose_thresholds(labels, probs, args.threshold_rule)
    if not args.reference_from:
        return listed, thresholds, None
    values = reference_values(labels, patients, probs, thresholds, args.calibration)
    made_of = {"list": file_facts(args.thresholds_list), **source_of([args.reference_from])}
    return listed, thresholds, {"rule": args.threshold_rule, **made_of, **values}


def run_network(args):
    """Return test films, their probabilities, what those depend on, and a `MapSource`."""
    # Of several processes (paddle.distributed.launch) each takes its share, and one prints.
    device = set_device(args.device)
    args.resize, args.crop_size = choose_sizes(args.weights, args.resize, args.crop_size)
    films = ChestXray14(
        args.data_dir,
        args.test_list,
        transform=None if args.crops == 10 else CenterCrop(args.crop_size),
        resize=args.resize,
        reading=Reading(args.window, args.any_modality),
    )
    print_once("=> loading checkpoint")
    network = CheXNet(len(CLASS_NAMES))
    load_weights(network, args.weights)
    print_once("=> loaded checkpoint", flush=True)
    print_once(f"films come from {films.source}", file=sys.stderr)
    layer, precision, engine = choose_engine(network, args.crop_size, args.precision)
    on_cpu = device == "cpu"
    alone = on_cpu and args.crops == 10 and paddle.distributed.get_world_size() == 1
    keeps = alone and args.output_dir and not args.no_report and len(films) <= KEPT_FILMS
    network = layer if on_cpu else network
    ten_crop = KeepingTenCrop(layer, args.crop_size) if keeps else TenCrop(layer, args.crop_size)
    probs = predict(ten_crop, films, args)
    if films.notes.doubts and args.output_dir:
        films.notes.write(os.path.join(args.output_dir, "doubted_films.csv"))
    source = {
        "weights": file_facts(args.weights),
        "crops": args.crops,
        "crop_size": args.crop_size,
        "resize": args.resize,
        "window": args.window,
        **films.notes.as_figures(),
        "precision": precision,
        "device": device,
        "hardware": describe_device(),
        "engine": engine,
    }
    kept = ten_crop.kept if keeps else []
    return films, probs, source, MapSource(network, films, args.crop_size, kept)


def predict(ten_crop, films, args):
    """Return the probabilities of all films, float32 `[N, 14]`, with a bar over the batches."""
    model = paddle.Model(
        ten_crop if args.crops == 10 else ten_crop.network,
        inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
        labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
    )
    collected = Predictions()
    model.prepare(metrics=collected)
    sampler = paddle.io.DistributedBatchSampler(films, args.batch_size)
    loader = FilmLoader(films, batch_sampler=sampler, num_workers=args.num_workers)
    with paddle.no_grad(), contextlib.closing(BatchBar(ten_crop.network, args.crops)) as bar:
        model.evaluate(loader, verbose=0, callbacks=[bar])
    return np.concatenate(collected.probs)


def compare(args):
    """Print how two networks differ on the same films, class by class."""
    names, labels, patients = read_labels(args.test_list)
    a, b = (mean_predictions(paths, names) for paths in args.compare)
    figures = measure_difference(patients, labels, a, b, args.bootstrap, args.seed)
    show_difference(figures, *args.compare)
    if args.output_dir:
        sources = {
            key: source_of(paths)["predictions"]
            for key, paths in zip("ab", args.compare, strict=True)
        }
        sources["test_list"] = file_facts(args.test_list)
        path = os.path.join(args.output_dir, "comparison.json")
        write_json(path, sources | figures)
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    command_line.run(main, ARGS)
