"""Train CheXNet on ChestX-ray14 with the recipe of the earlier Paddle port.

    python train.py --data-dir ChestX-ray14 --save-dir save

prints `paddle.Model`'s lines, also into logs/, and leaves save/best_model.pdparams for eval.py:

    step  10/614 - loss: 0.1650 - AUROC_Atelectasis: 0.5343 - ... - AUROC_avg: 0.5401 - 3s/step
"""

import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys

import cli  # before Paddle

import numpy as np
import paddle

from callbacks import (
    BestModel,
    EpochSchedule,
    FiniteLoss,
    Lines,
    Scalars,
    SkippedSteps,
    Upkeep,
)
from checkpoints import Checkpoints, Run, find_checkpoints, is_first_rank
from dataset import (
    CLASS_NAMES,
    CenterCrop,
    ChestXray14,
    RandomCropFlip,
)
from files import UserError, sha256, write_json
from loader import EpochSampler, FilmLoader
from metrics import AUROC, MeanLogLoss
from model import AutoCast, CheXNet, LogLoss, load_weights

# Options that decide what is learnt: a run goes on with the same ones. --epochs may grow.
FIXED = (
    *("train_sha256", "val_sha256", "seed", "batch_size", "ranks", "resize", "crop_size"),
    *("learning_rate", "lr_schedule", "decay_epochs", "decay_factor", "monitor", "amp"),
    "amp_dtype",
)


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    # Data and machine
    cli.add_data_arguments(parser)
    parser.add_argument("--train-list", help="default: that of --split")
    parser.add_argument("--val-list", help="default: that of --split")
    parser.add_argument("--seed", type=cli.natural_int, default=0)
    # Start
    parser.add_argument("--pretrained", choices=["imagenet", "none"], default="imagenet")
    parser.add_argument("--weights", help="start from this .pdparams instead")
    # Recipe
    parser.add_argument("--epochs", type=cli.positive_int, default=20)
    parser.add_argument("--learning-rate", type=cli.positive_float, default=0.001)
    parser.add_argument("--decay-epochs", type=cli.int_list, default=[10, 15, 18])
    parser.add_argument("--decay-factor", type=cli.positive_float, default=0.1)
    parser.add_argument(
        "--lr-schedule",
        choices=["step", "plateau"],
        default="step",
        help="lower the rate at --decay-epochs, or when the validation loss stalls, as the paper",
    )
    parser.add_argument(
        "--monitor",
        choices=["auroc", "loss"],
        default="auroc",
        help="what of the validation films decides which weights are best",
    )
    parser.add_argument(
        "--patience", type=cli.positive_int, default=10, help="epochs without a better --monitor"
    )
    # Half precision, on a GPU
    parser.add_argument("--amp", choices=["off", "O1", "O2"], default="off", help="Paddle's levels")
    parser.add_argument("--amp-dtype", choices=["float16", "bfloat16"], default="float16")
    # What is left behind
    parser.add_argument("--save-dir", default="save", help="folder for checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from --save-dir")
    parser.add_argument(
        "--save-steps", type=cli.positive_int, help="steps between checkpoints within an epoch"
    )
    parser.add_argument(
        "--keep", type=cli.positive_int, default=3, help="epochs whose checkpoint stays"
    )
    parser.add_argument("--log-dir", default="logs", help="folder for a copy of what is printed")
    parser.add_argument("--visualdl", metavar="DIR", help="folder for VisualDL's scalars")
    parser.add_argument("--log-freq", type=cli.positive_int, default=10, help="steps between lines")
    args = parser.parse_args()
    args.train_list = args.train_list or cli.label_list(args, "train")
    args.val_list = args.val_list or cli.label_list(args, "val")
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    device = cli.set_device(args.device, args.autotune)
    if args.amp != "off" and device == "cpu":
        raise UserError(f"--amp: want off on a CPU, got {args.amp}; Paddle has it on GPUs alone")
    found = find_checkpoints(args.save_dir)
    if found and not args.resume:
        raise UserError(
            f"{args.save_dir}: want a folder without checkpoints, got {len(found)} of an earlier "
            "run; go on with it (--resume), or give another --save-dir"
        )
    paddle.seed(args.seed)
    rank, ranks = paddle.distributed.get_rank(), paddle.distributed.get_world_size()

    train_set = ChestXray14(
        args.data_dir, args.train_list, RandomCropFlip(args.crop_size), args.resize, args.seed
    )
    val_set = ChestXray14(args.data_dir, args.val_list, CenterCrop(args.crop_size), args.resize)
    sampler = EpochSampler(train_set, args.batch_size, args.seed, rank, ranks)
    val_sampler = paddle.io.DistributedBatchSampler(val_set, args.batch_size)
    train_loader = FilmLoader(train_set, batch_sampler=sampler, num_workers=args.num_workers)
    val_loader = FilmLoader(val_set, batch_sampler=val_sampler, num_workers=args.num_workers)

    network = start(args, found)
    schedule, optimizer = optimization(args, network)
    layer, optimizer, amp_configs = half_precision(args, network, optimizer)
    model = paddle.Model(
        layer,
        inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
        labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
    )
    auroc, log_loss = AUROC(CLASS_NAMES), MeanLogLoss()
    model.prepare(optimizer, LogLoss(), [auroc, log_loss], amp_configs)

    run = Run()
    monitor = "loss" if args.monitor == "loss" else "AUROC_avg"
    best = os.path.join(args.save_dir, "best_model.pdparams")
    checkpoints = Checkpoints(
        run, network, optimizer, auroc, args.save_dir, args.save_steps, args.keep
    )
    callbacks = [
        Upkeep(run, sampler, log_loss),
        Lines(run, args.log_freq),
        FiniteLoss(run, args.save_dir),
        *([SkippedSteps(run)] if amp_configs else []),
        *([Scalars(run, args.visualdl, args.log_freq)] if args.visualdl and rank == 0 else []),
        BestModel(run, network, best, monitor, args.patience),
        EpochSchedule(schedule),
        checkpoints,
    ]

    config = {
        **vars(args),
        "device": device,
        "ranks": ranks,
        "train_sha256": sha256(args.train_list),
        "val_sha256": sha256(args.val_list),
        **environment(),
    }
    with logged(args.log_dir) if is_first_rank() else contextlib.nullcontext():
        if is_first_rank():
            print(json.dumps(config))
            print(f"films come from {train_set.source}")
        if found:
            resume(args, config, checkpoints, found[-1], model)
        elif args.resume and is_first_rank():
            print(f"nothing to go on from in {args.save_dir}: starting")
        if is_first_rank():
            write_json(os.path.join(args.save_dir, "config.json"), config)
        if run.epoch >= args.epochs or run.waited >= args.patience:
            print(
                f"{args.save_dir} holds a run that is over: {run.epoch} epochs, best {run.best:.4f}"
            )
            return
        epochs = args.epochs - run.epoch
        model.fit(train_loader, val_loader, epochs=epochs, verbose=0, callbacks=callbacks)


def start(args, found):
    """Return the network with the weights that training starts from, or goes on from."""
    weights = os.path.join(found[-1], "weights.pdparams") if found else args.weights
    imagenet = args.pretrained == "imagenet" and not weights
    network = CheXNet(len(CLASS_NAMES), pretrained=imagenet)
    if weights:
        load_weights(network, weights)
    return network


def optimization(args, network):
    """Return the schedule of the learning rate, and Adam with it."""
    if args.lr_schedule == "plateau":
        # The paper: a tenth whenever an epoch's validation loss is no lower than the lowest.
        schedule = paddle.optimizer.lr.ReduceOnPlateau(
            args.learning_rate, factor=args.decay_factor, patience=0, threshold=0.0
        )
    else:
        rates = [
            args.learning_rate * args.decay_factor**n for n in range(len(args.decay_epochs) + 1)
        ]
        schedule = paddle.optimizer.lr.PiecewiseDecay(args.decay_epochs, rates)
    return schedule, paddle.optimizer.Adam(schedule, parameters=network.parameters())


def half_precision(args, network, optimizer):
    """Return layer and optimiser as --amp wants them, and paddle.Model's amp_configs.

    `paddle.Model` brings the loss scaler that float16 needs; bfloat16 has the range to do without.
    """
    if args.amp == "off":
        return network, optimizer, None
    if args.amp == "O2":
        network, optimizer = paddle.amp.decorate(
            network,
            optimizer,
            level="O2",
            dtype=args.amp_dtype,
            save_dtype="float32",
            excluded_layers=[network.densenet121.out],
        )
    layer = AutoCast(network, args.amp_dtype, args.amp)
    return layer, optimizer, "O1" if args.amp_dtype == "float16" else None


def resume(args, config, checkpoints, path, model):
    """Take all but the network, which `start` has loaded, back to where a checkpoint stood."""
    with open(os.path.join(args.save_dir, "config.json"), encoding="utf-8") as file:
        before = json.load(file)
    for key in FIXED:
        if before.get(key) != config[key]:
            raise UserError(
                f"{args.save_dir}: want {key} {before.get(key)!r} as in its config.json, "
                f"got {config[key]!r}; go on with the same options, or give another --save-dir"
            )
    scaler = checkpoints.restore(path)
    if scaler:
        model._scaler = paddle.amp.GradScaler()
        model._scaler.load_state_dict(scaler)
    if is_first_rank():
        print(f"going on from {path}")


def environment():
    """Return what a run depends on besides its options: versions and the commit."""
    folder = os.path.dirname(os.path.abspath(__file__))
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        commit = subprocess.check_output(
            ["git", "-C", folder, "describe", "--always", "--dirty", "--abbrev=40"],
            text=True,
            stderr=subprocess.DEVNULL,
        ).strip()
        return {**_versions(), "commit": commit}
    return {**_versions(), "commit": None}


def _versions():
    return {
        "python": platform.python_version(),
        "paddle": paddle.__version__,
        "numpy": np.__version__,
    }


@contextlib.contextmanager
def logged(folder):
    """Copy all that is printed into a new dated file in `folder`."""
    os.makedirs(folder, exist_ok=True)
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = os.path.join(folder, f"train_{now}_{os.getpid()}.log")
    with (
        open(path, "w", encoding="utf-8") as log,
        contextlib.redirect_stdout(_Tee(sys.stdout, log)),
    ):
        yield


class _Tee:
    """A standard output that also goes into a file, line by line."""

    def __init__(self, terminal, log):
        self.terminal, self.log = terminal, log

    def write(self, text):
        self.terminal.write(text)
        self.log.write(text)

    def flush(self):
        self.terminal.flush()
        self.log.flush()

    def isatty(self):
        return self.terminal.isatty()


if __name__ == "__main__":
    cli.run(main)
