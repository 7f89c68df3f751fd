"""Evaluate a checkpoint on ChestX-ray14 with ten crops: the per-class AUROC table.

    python eval.py --data-dir ChestX-ray14 --weights pretrained_models/model_from_torch.pdparams

ends with a line for each class, the last one being

    The AUROC of Hernia is <AUROC>
"""

import contextlib
import json
import os
import platform
import sys

import cli  # before Paddle

import numpy as np
import paddle
import PIL

from callbacks import BatchBar, is_first_rank
from dataset import CLASS_NAMES, CenterCrop, ChestXray14
from files import UserError, sha256, write_whole
from inference import CPUPredictor, has_bfloat16
from loader import FilmLoader
from metrics import Predictions, auroc, mean_auroc
from model import AutoCast, CheXNet, TenCrop, load_weights


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
    args = parser.parse_args()
    args.test_list = args.test_list or os.path.join(args.data_dir, "labels", "test_list.txt")
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    device = cli.set_device(args.device)
    if args.output_dir:
        os.makedirs(args.output_dir, exist_ok=True)  # not after hours of work

    # Of several processes (paddle.distributed.launch) each takes its share, and one prints.
    say = print if is_first_rank() else lambda *words, **options: None
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
    network, args.precision, engine = accelerated(network, args, device)
    probs = predict(TenCrop(network, args.crop_size) if args.crops == 10 else network, films, args)
    if not is_first_rank():
        return

    aurocs = auroc(films.labels, probs)
    mean, defined = mean_auroc(aurocs)
    print("The final AUROCs: ")
    partial = "" if defined == len(aurocs) else f" (over {defined} of {len(aurocs)} classes)"
    print(f"The average AUROC is {mean:.3f}{partial}")
    for name, value in zip(CLASS_NAMES, aurocs, strict=True):
        print(f"The AUROC of {name} is {value}")
    if args.output_dir:
        write_predictions(os.path.join(args.output_dir, "predictions.csv"), films.names, probs)
        path = os.path.join(args.output_dir, "metrics.json")
        write_metrics(path, args, engine, films.labels, aurocs)


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


def write_predictions(path, names, probs):
    """Write one line a film: its name and 14 probabilities, each the shortest that reads back."""
    with write_whole(path, "w") as file:
        file.write(",".join(["Image Index", *(f"prob_{name}" for name in CLASS_NAMES)]) + "\n")
        for name, row in zip(names, probs, strict=True):
            file.write(",".join([name, *map(str, row)]) + "\n")


def write_metrics(path, args, engine, labels, aurocs):
    """Write the AUROCs with all that they depend on. An undefined AUROC is null."""
    mean, defined = mean_auroc(aurocs)
    positives = labels.sum(axis=0, dtype=int).tolist()
    report = {
        "auroc": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(CLASS_NAMES, aurocs, strict=True)
        },
        "auroc_mean": None if np.isnan(mean) else mean,
        "auroc_mean_over": defined,
        "images": len(labels),
        "positives": dict(zip(CLASS_NAMES, positives, strict=True)),
        "test_list": {"path": args.test_list, "sha256": sha256(args.test_list)},
        "weights": {"path": args.weights, "sha256": sha256(args.weights)},
        "crops": args.crops,
        "crop_size": args.crop_size,
        "resize": args.resize,
        "precision": args.precision,
        "device": paddle.get_device(),
        "engine": engine,
        "versions": {
            "python": platform.python_version(),
            "paddle": paddle.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
    }
    with write_whole(path, "w") as file:
        json.dump(report, file, indent=2)
        file.write("\n")


if __name__ == "__main__":
    cli.run(main)
