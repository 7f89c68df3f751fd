"""Evaluate a checkpoint on ChestX-ray14 with ten crops: the per-class AUROC table.

    python eval.py --data-dir ChestX-ray14 --weights pretrained_models/model_from_torch.pdparams

ends with a line for each class, the last one being

    The AUROC of Hernia is <AUROC>

and, on stderr, how sure each is: a 95 % interval by bootstrap over patients. Without a network:

    python eval.py --predictions result/predictions.csv
    python eval.py --compare a/predictions.csv b/predictions.csv
"""

import contextlib
import csv
import json
import os
import platform
import sys
import tempfile

import cli  # before Paddle

import numpy as np
import paddle
import PIL

from callbacks import BatchBar
from checkpoints import is_first_rank
from dataset import CLASS_NAMES, CenterCrop, ChestXray14, patient, read_label_list
from files import UserError, first_line, sha256, write_whole
from inference import CPUPredictor, has_bfloat16
from loader import FilmLoader
from metrics import Predictions, auroc, bootstrap, delong, interval, mean_auroc
from model import AutoCast, CheXNet, TenCrop, load_weights
from operating_points import (
    RATES,
    brier_score,
    choose_thresholds,
    expected_calibration_error,
    rate_intervals,
    rates,
)


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    cli.add_data_arguments(parser)
    parser.add_argument("--test-list", help="default: labels/test_list.txt below --data-dir")
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
    parser.add_argument("--output-dir", help="write predictions.csv and metrics.json there as well")
    # How sure
    parser.add_argument(
        "--bootstrap", type=cli.natural_int, default=1000, help="resamples for intervals; 0: none"
    )
    parser.add_argument("--seed", type=cli.natural_int, default=0, help="of the resamples")
    # Decisions
    parser.add_argument(
        "--thresholds-from", metavar="CSV", help="choose thresholds on these, of validation films"
    )
    parser.add_argument("--thresholds-list", help="their labels; default: labels/val_list.txt")
    parser.add_argument("--threshold-rule", choices=["youden", "f1"], default="youden")
    # Instead of a network
    parser.add_argument("--predictions", metavar="CSV", help="take these")
    parser.add_argument("--compare", nargs=2, metavar=("A", "B"), help="compare two of those")
    args = parser.parse_args()
    labels = os.path.join(args.data_dir, "labels")
    args.test_list = args.test_list or os.path.join(labels, "test_list.txt")
    args.thresholds_list = args.thresholds_list or os.path.join(labels, "val_list.txt")
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)
        with tempfile.TemporaryFile(dir=args.output_dir):  # fails now, not after hours of work
            pass
    if args.compare:
        return compare(args)
    thresholds = read_thresholds(args) if args.thresholds_from else None
    if args.predictions:
        names, labels = read_label_list(args.test_list)
        probs = read_predictions(args.predictions, names)
        source = {"predictions": {"path": args.predictions, "sha256": sha256(args.predictions)}}
    else:
        names, labels, probs, source = run_network(args)
    if is_first_rank():
        report(args, names, labels, probs, source, thresholds)


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


def run_network(args):
    """Return names, labels and probabilities of the test films, and what they depend on."""
    # Of several processes (paddle.distributed.launch) each takes its share, and one prints.
    say = print if is_first_rank() else lambda *words, **options: None
    device = cli.set_device(args.device, args.autotune)
    say("=> loading checkpoint")
    network = CheXNet(len(CLASS_NAMES))
    load_weights(network, args.weights)
    say("=> loaded checkpoint", flush=True)

    films = ChestXray14(
        args.data_dir,
        args.test_list,
        transform=None if args.crops == 10 else CenterCrop(args.crop_size),
        resize=args.resize,
    )
    say(f"films come from {films.source}", file=sys.stderr)
    network, precision, engine = accelerated(network, args, device)
    probs = predict(TenCrop(network, args.crop_size) if args.crops == 10 else network, films, args)
    source = {
        "weights": {"path": args.weights, "sha256": sha256(args.weights)},
        "crops": args.crops,
        "crop_size": args.crop_size,
        "resize": args.resize,
        "precision": precision,
        "device": device,
        "engine": engine,
    }
    return films.names, films.labels, probs, source


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


def read_predictions(path, names, option="--test-list"):
    """Read what `write_predictions` wrote.

    Args:
        path: the CSV file.
        names: the films wanted, in this order.
        option: which one gives them, for the message.

    Returns:
        float32 `[N, 14]`.

    Raises:
        UserError: the file is missing or broken, or its films are not these.
    """
    wanted = ["Image Index", *(f"prob_{name}" for name in CLASS_NAMES)]
    try:
        with open(path, newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
        if header != wanted:
            raise ValueError(f"the columns {','.join(header)[:80]!r}")
        probs = {name: np.array(values, np.float32) for name, *values in rows}
        for name, row in probs.items():
            if row.shape != (len(CLASS_NAMES),) or not ((row >= 0) & (row <= 1)).all():
                raise ValueError(f"a line of {name} without 14 probabilities")
        if len(probs) != len(rows):
            raise ValueError("a film twice")
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path}: want a predictions.csv of eval.py, got {first_line(error)}; make it again"
        ) from None
    odd = sorted(set(names) ^ probs.keys())
    if odd:
        where = "the list" if odd[0] in probs else "the predictions"
        raise UserError(
            f"{path}: want the films of {option}, got {len(odd)} in one alone: {odd[0]} is not in "
            f"{where}; give the list that the predictions are for"
        )
    return np.stack([probs[name] for name in names])


def report(args, names, labels, probs, source, thresholds=None):
    """Print the table and write the files of --output-dir."""
    aurocs = auroc(labels, probs)
    mean, defined = mean_auroc(aurocs)
    print("The final AUROCs: ")
    partial = "" if defined == len(aurocs) else f" (over {defined} of {len(aurocs)} classes)"
    print(f"The average AUROC is {mean:.3f}{partial}")
    for name, value in zip(CLASS_NAMES, aurocs, strict=True):
        print(f"The AUROC of {name} is {value}", flush=True)
    metrics = {
        "auroc": by_class(aurocs),
        "auroc_mean": number(mean),
        "auroc_mean_over": defined,
        "images": len(labels),
        "positives": dict(zip(CLASS_NAMES, labels.sum(axis=0, dtype=int).tolist(), strict=True)),
        "brier": by_class(brier_score(labels, probs)),
        "expected_calibration_error": by_class(expected_calibration_error(labels, probs)),
    }
    patients = [patient(name) for name in names]
    if args.bootstrap:
        drawn = bootstrap(labels, probs, patients, args.bootstrap, args.seed)
        intervals = [interval(column) for column in (*drawn.T, mean_of_each(drawn))]
        print(
            f"95 % intervals, {args.bootstrap} resamples of {len(set(patients))} patients:",
            file=sys.stderr,
        )
        for name, value, (low, high) in zip(
            (*CLASS_NAMES, "mean"), (*aurocs, mean), intervals, strict=True
        ):
            print(f"  {name:<18} {value:.4f}  ({low:.4f} to {high:.4f})", file=sys.stderr)
        metrics["auroc_95_percent"] = by_class(intervals[:-1])
        metrics["auroc_mean_95_percent"] = [number(bound) for bound in intervals[-1]]
        metrics["bootstrap"] = {
            "resamples": args.bootstrap,
            "seed": args.seed,
            "patients": len(set(patients)),
        }
    if thresholds is not None:
        metrics["thresholds"] = operating_points(args, labels, probs, patients, thresholds)
    if args.output_dir:
        write_predictions(os.path.join(args.output_dir, "predictions.csv"), names, probs)
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


def operating_points(args, labels, probs, patients, thresholds):
    """Print what the thresholds give on these films, and return it for JSON."""
    found = rates(labels, probs, thresholds)
    intervals = {rate: [(np.nan, np.nan)] * len(CLASS_NAMES) for rate in RATES}
    if args.bootstrap:
        drawn = (patients, args.bootstrap, args.seed)
        intervals = rate_intervals(labels, probs, thresholds, *drawn)
    print(f"at thresholds from {args.thresholds_from} ({args.threshold_rule}):", file=sys.stderr)
    print(f"  {'':<18} threshold" + "".join(f"  {name:<24}" for name in RATES), file=sys.stderr)
    for c, name in enumerate(CLASS_NAMES):
        cells = [
            f"  {found[rate][c]:.3f} ({low:.3f} to {high:.3f})"
            for rate in RATES
            for low, high in [intervals[rate][c]]
        ]
        print(f"  {name:<18} {thresholds[c]:9.6f}" + "".join(cells), file=sys.stderr)
    return {
        "from": {"path": args.thresholds_from, "sha256": sha256(args.thresholds_from)},
        "rule": args.threshold_rule,
        "threshold": by_class(thresholds),
        **{rate: by_class(found[rate]) for rate in RATES},
        **{f"{rate}_95_percent": by_class(intervals[rate]) for rate in RATES},
    }


def compare(args):
    """Print how two networks differ on the same films: A less B, class by class."""
    names, labels = read_label_list(args.test_list)
    a, b = (read_predictions(path, names) for path in args.compare)
    patients = [patient(name) for name in names]
    # The same seed draws the same patients for both: pairs.
    drawn = [bootstrap(labels, probs, patients, args.bootstrap, args.seed) for probs in (a, b)]
    drawn_difference = drawn[0] - drawn[1]
    tests = [delong(*column) for column in zip(labels.T, a.T, b.T, strict=True)]
    intervals = [interval(column) for column in drawn_difference.T]
    print(
        f"AUROC of {args.compare[0]} less that of {args.compare[1]}, {len(names)} films; 95 % "
        f"interval by {args.bootstrap} resamples of {len(set(patients))} patients; DeLong's p"
    )
    for name, (difference, p), (low, high) in zip(CLASS_NAMES, tests, intervals, strict=True):
        print(f"{name:<18} {difference:+.4f}  ({low:+.4f} to {high:+.4f})  p = {p:.3g}")
    mean = mean_auroc([difference for difference, _ in tests])[0]
    low, high = interval(mean_of_each(drawn_difference))
    print(f"{'mean':<18} {mean:+.4f}  ({low:+.4f} to {high:+.4f})")
    if args.output_dir:
        comparison = {
            "a": {"path": args.compare[0], "sha256": sha256(args.compare[0])},
            "b": {"path": args.compare[1], "sha256": sha256(args.compare[1])},
            "difference": by_class([difference for difference, _ in tests]),
            "difference_95_percent": by_class(intervals),
            "delong_p": by_class([p for _, p in tests]),
            "mean_difference": number(mean),
            "mean_difference_95_percent": [number(low), number(high)],
            "bootstrap": {"resamples": args.bootstrap, "seed": args.seed},
        }
        write_json(os.path.join(args.output_dir, "comparison.json"), comparison)


def mean_of_each(drawn):
    """Return the mean of each resample's AUROCs that are defined: `[B, C]` -> `[B]`."""
    return np.array([mean_auroc(row)[0] for row in drawn])


def by_class(values):
    """Return a dict for JSON from class name to number, or list of numbers."""
    return {
        name: [number(x) for x in value] if np.ndim(value) else number(value)
        for name, value in zip(CLASS_NAMES, values, strict=True)
    }


def number(value):
    """Return a float for JSON, which has no NaN: None then."""
    return None if np.isnan(value) else float(value)


def write_predictions(path, names, probs):
    """Write one line a film: its name and 14 probabilities, each the shortest that reads back."""
    with write_whole(path, "w") as file:
        file.write(",".join(["Image Index", *(f"prob_{name}" for name in CLASS_NAMES)]) + "\n")
        for name, row in zip(names, probs, strict=True):
            file.write(",".join([name, *map(str, row)]) + "\n")


def write_json(path, content):
    """Write a dict as JSON, whole."""
    with write_whole(path, "w") as file:
        json.dump(content, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    cli.run(main)
