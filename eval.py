"""Evaluate a checkpoint on ChestX-ray14 with ten crops: the per-class AUROC table.

    python eval.py --data-dir ChestX-ray14 --weights pretrained_models/model_from_torch.pdparams

ends with a line for each class, the last one being

    The AUROC of Hernia is <AUROC>

and, on stderr, how sure each is: a 95 % interval over patients. Without a network:

    python eval.py --predictions result/predictions.csv
    python eval.py --predictions seed0/predictions.csv seed1/predictions.csv    # their mean
    python eval.py --compare a/predictions.csv b/predictions.csv
"""

import os
import sys

from runtime import command_line
from runtime.command_line import natural_int

EXAMPLES = """\
  python eval.py --weights save/best_model.pdparams --output-dir result
  python eval.py --predictions result/predictions.csv --thresholds-from val/predictions.csv
"""
KEPT_FILMS = 1000  # of so many the maps are kept, 27 kB each; of more, a few are drawn anew


def parse_args():
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    data = parser.add_argument_group("data and machine")
    command_line.add_data_arguments(data)
    command_line.add_list_arguments(data, ("test",))
    command_line.add_device_argument(data)
    network = parser.add_argument_group("network")
    command_line.add_weights_argument(
        network, default="pretrained_models/best_model_via_this_project.pdparams"
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
    tested = parser.add_argument_group("tested films")
    tested.add_argument(
        "--leave-out-seen",
        action="store_true",
        help="leave out films of patients in the lists that the network was trained with",
    )
    tested.add_argument(
        "--keep-going",
        action="store_true",
        help="read all films first; leave out those that cannot be read, list them in failed.csv "
        "and end with status 1",
    )
    further = parser.add_argument_group("further figures")
    further.add_argument(
        "--union",
        action="append",
        default=[],
        metavar="NAME=FINDING,FINDING",
        help='findings that also count as one, as "Nodule or mass=Nodule,Mass"; may be repeated',
    )
    further.add_argument(
        "--other-labels",
        metavar="LIST",
        help="another list's labels of the same films: AUROCs by them too, and the differences",
    )
    further.add_argument("--no-intervals", action="store_true", help="leave 95%% intervals out")
    # Intervals were by bootstrap once: scripts still say how many resamples, and 0 for none.
    further.add_argument(
        "--bootstrap",
        type=natural_int,
        help="0 is --no-intervals; other numbers, and --seed, mean nothing since nothing is drawn",
    )
    further.add_argument("--seed", type=natural_int, help="see --bootstrap")
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
        parser.error("--compare stands alone: leave out --predictions and --...-from")
    args.no_intervals = args.no_intervals or args.bootstrap == 0
    if args.compare and (args.union or args.other_labels):
        parser.error("--compare knows the 14 findings only: leave out --union and --other-labels")
    if args.keep_going and (args.predictions or args.compare):
        parser.error("--keep-going is for films: leave it out with saved predictions")
    if args.boxes and (args.predictions or args.compare):
        parser.error("--boxes needs a network for the heat maps: give only --weights")
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
from evaluation.all_figures import Beside, compare, measure_all
from evaluation.eval_folder import (
    begin_results,
    check_folder,
    describe_data,
    source_of,
    weights_of,
    why_of_others,
    write_metrics,
)
from evaluation.heat_maps import BoxedFilms, MapSource, draw_examples, too_coarse
from evaluation.network_run import predict
from evaluation.operating_points import reference_values
from evaluation.predictions_csv import film_names, mean_predictions
from evaluation.reports import write_model_card, write_report
from evaluation.tested_films import (
    choose_tested,
    labels_of_films,
    parse_union,
    union_labels,
    union_probs,
)
from evaluation.thresholds import choose_thresholds, read_validation
from films.film_pixels import Reading
from films.label_lists import CLASS_NAMES
from inference.activation_maps import KeepingTenCrop
from inference.engine import choose_engine
from model import CheXNet, TenCrop, load_weights
from public_data.nih_tables import facts_of, read_data_entry, subgroups
from runtime.devices import describe_device, is_first_rank, print_on_first_rank, set_device
from runtime.files import file_facts
from runtime.versions import versions
from weights.trained_sizes import check_window, choose_sizes


def main(args):
    fill_in_defaults(args)
    if args.output_dir:
        check_folder(args.output_dir, args.predictions)
    is_saved = args.predictions or args.compare
    if not is_saved:
        # Of several processes (paddle.distributed.launch) each takes its share, and one prints.
        args.device = set_device(args.device)
        args.resize, args.crop_size = choose_sizes(args.weights, args.resize, args.crop_size)
        check_window(args.weights, args.window)
    listed, left_out = choose_films(args)
    if args.compare:
        compare(args.compare, args.test_list, listed, args.output_dir)
        return
    films = None if is_saved else open_films(args, listed)
    maps = None
    beside = read_beside(args, listed)  # what is wrong is found now, not after hours of work
    if args.predictions:
        probs = mean_predictions(args.predictions, listed.names)
        source = source_of(args.predictions)
    else:
        probs, source, maps = run_network(args, films)
    if not is_first_rank():
        return
    if args.output_dir:
        begin_results(args.output_dir, listed.names, probs, beside.reference, left_out.failed)
        if films and films.notes.doubts:
            films.notes.write(os.path.join(args.output_dir, "doubted_films.csv"))
    figures = measure_all(listed, probs, beside, maps, not args.no_intervals)
    figures["flow"] |= left_out.flow
    if args.output_dir:
        figures |= {"test_list": file_facts(args.test_list), "data": beside.data}
        figures |= {**source, "versions": versions()}
        write_metrics(args.output_dir, figures)
        write_model_card(args.output_dir, figures)
        if args.no_report:
            print(f"wrote {args.output_dir}/metrics.json", file=sys.stderr)
        else:
            examples, why_none = choose_pictures(maps, films, probs, beside.boxed, args.crop_size)
            write_report(args.output_dir, figures, listed, probs, examples, why_none)
            print(f"wrote {args.output_dir}: open {args.output_dir}/report.html", file=sys.stderr)
    if left_out.failed:
        sys.exit(1)


def fill_in_defaults(args):
    """Fill in the paths that depend on the data folder."""
    args.test_list = args.test_list or command_line.label_list(args.data_dir, args.split, "test")
    if args.thresholds_from and not args.thresholds_list:
        args.thresholds_list = command_line.label_list(args.data_dir, args.split, "val")
    if args.data_entry is None:
        default = os.path.join(args.data_dir, "labels", "Data_Entry_2017_v2020.csv")
        args.data_entry = default if os.path.exists(default) else None


def choose_films(args):
    """Return the films that are tested, a `LabelList`, and what was left out: a `LeftOut`."""
    paths = args.predictions or [path for side in args.compare or () for path in side]
    weights = weights_of(paths) if paths else [args.weights]
    folders = [os.path.dirname(args.test_list), os.path.join(args.data_dir, "labels")]
    listed, left_out = choose_tested(args.test_list, folders, weights, args.leave_out_seen)
    if args.predictions:
        left_out.count_further(film_names(args.predictions[0]), listed)
    if args.keep_going:
        reading = Reading(*command_line.reading_options(args))
        listed = left_out.drop_unreadable(
            listed, args.data_dir, args.resize, reading, args.num_workers
        )
    for line in left_out.lines():
        print_on_first_rank(line, file=sys.stderr)
    return listed, left_out


def open_films(args, listed):
    """Return the tested films in the sizes that the weights take."""
    return ChestXray14(
        args.data_dir,
        listed,
        transform=None if args.crops == 10 else CenterCrop(args.crop_size),
        resize=args.resize,
        reading=Reading(*command_line.reading_options(args)),
    )


def read_beside(args, listed):
    """Read all files but films and weights, and return what is `Beside` the listed films."""
    # Saved predictions need no films: the data folder may be another's.
    list_dir = os.path.dirname(args.test_list)
    labels_dir = list_dir if args.predictions else os.path.join(args.data_dir, "labels")
    unions = [parse_union(text) for text in args.union]
    found = {
        "data": describe_data(args.test_list, listed.names, labels_dir),
        "unions": unions,
        "union_labels": union_labels(unions, args.test_list, listed),
    }
    if path := args.other_labels:
        others = labels_of_films(path, listed.names)
        columns = others.labels, union_labels(unions, path, others)
        found |= {"other_list": file_facts(path), "other_labels": np.hstack(columns)}
    if args.thresholds_from:
        found |= learn_from_validation(args, listed, unions)
        if args.reference_from and found["data"]["source"]:  # phantoms', say
            found["reference"]["source"] = found["data"]["source"]
    if args.data_entry:
        entries = read_data_entry(args.data_entry)
        found["groups"] = subgroups(listed.names, entries)
        found["facts"] = facts_of(listed.names, entries)
    if args.boxes:
        found["boxed"] = boxed = BoxedFilms(args.boxes, listed.names)
        count = f"{len(boxed.boxes)} of the {boxed.of_file} boxes of {args.boxes}"
        print(f"{count} are on test films", file=sys.stderr)
    return Beside(**found)


def learn_from_validation(args, listed, unions):
    """Return what `Beside` has of validation films: dict, with what was asked for."""
    lists = args.thresholds_list, listed, args.test_list
    validation, probs = read_validation(args.thresholds_from, *lists)
    theirs = source_of([args.thresholds_from])
    ours = source_of(args.predictions) if args.predictions else network_facts(args)
    if other := why_of_others(theirs, ours):
        text = f"warning: {args.thresholds_from}: {other}; predict those films as these"
        print_on_first_rank(text, file=sys.stderr)
    _, labels, patients = validation
    rule, thresholds = args.threshold_rule, choose_thresholds(labels, probs, args.threshold_rule)
    of_unions = union_labels(unions, args.thresholds_list, validation), union_probs(unions, probs)
    found = {
        "validation": validation,
        "chosen": {"from": file_facts(args.thresholds_from), "rule": rule},
        "thresholds": thresholds,
        "union_thresholds": choose_thresholds(*of_unions, rule),
    }
    if args.reference_from:
        values = reference_values(labels, probs, patients, thresholds, args.calibration)
        made_of = {"rule": rule, "list": file_facts(args.thresholds_list), **theirs}
        found["reference"] = made_of | values
    return found


def network_facts(args):
    """Return what predictions depend on: dict, as metrics.json has it."""
    names = ("crops", "crop_size", "resize", "window")
    return {"weights": file_facts(args.weights), **{name: getattr(args, name) for name in names}}


def run_network(args, films):
    """Return the films' probabilities, what those depend on, and a `MapSource`."""
    print_on_first_rank("=> loading checkpoint")
    network = CheXNet(len(CLASS_NAMES))
    load_weights(network, args.weights)
    print_on_first_rank("=> loaded checkpoint", flush=True)
    print_on_first_rank(f"films come from {films.source}", file=sys.stderr)
    layer, precision, engine = choose_engine(network, args.crop_size, args.precision)
    on_cpu = args.device == "cpu"
    has_pictures = args.output_dir and not args.no_report and len(films) <= KEPT_FILMS
    is_single = on_cpu and args.crops == 10 and paddle.distributed.get_world_size() == 1
    keeping = KeepingTenCrop(layer, args.crop_size) if is_single and has_pictures else None
    ten_crop = keeping or TenCrop(layer, args.crop_size)
    probs = predict(ten_crop, films, args.crops, args.batch_size, args.num_workers)
    source = {
        **network_facts(args),
        **films.notes.as_figures(),
        "precision": precision,
        "device": args.device,
        "hardware": describe_device(),
        "engine": engine,
    }
    maps = MapSource(layer if on_cpu else network, films, args.crop_size, keeping)
    return probs, source, maps


def choose_pictures(maps, films, probs, boxed, crop_size):
    """Return the examples that the page shows, and why there are none."""
    if maps is None:
        return [], "figures from saved predictions have no network to ask"
    why_none = too_coarse(crop_size)
    return ([] if why_none else draw_examples(maps, films, probs, boxed)), why_none


if __name__ == "__main__":
    command_line.run(main, ARGS)
