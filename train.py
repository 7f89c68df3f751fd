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

from callbacks import BestModel, EpochCheckpoint, FiniteLoss, SeedEpoch
from dataset import CLASS_NAMES, CenterCrop, ChestXray14, FilmLoader, RandomCropFlip
from files import write_whole
from metrics import AUROC
from model import CheXNet, LogLoss, load_weights


def parse_args():
    parser = cli.ArgumentParser(__doc__)
    # Data and machine
    cli.add_data_arguments(parser)
    parser.add_argument("--train-list", help="default: labels/train_list.txt below --data-dir")
    parser.add_argument("--val-list", help="default: labels/val_list.txt below --data-dir")
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
        "--patience", type=cli.positive_int, default=10, help="epochs without a better AUROC_avg"
    )
    # What is left behind
    parser.add_argument("--save-dir", default="save", help="folder for checkpoints")
    parser.add_argument("--log-dir", default="logs", help="folder for a copy of what is printed")
    parser.add_argument("--log-freq", type=cli.positive_int, default=10, help="steps between lines")
    args = parser.parse_args()
    for split in ("train", "val"):
        if getattr(args, f"{split}_list") is None:
            default = os.path.join(args.data_dir, "labels", f"{split}_list.txt")
            setattr(args, f"{split}_list", default)
    return args


def main():
    args = parse_args()
    cli.check_sizes(args)
    device = cli.set_device(args.device)
    paddle.seed(args.seed)

    train_set = ChestXray14(
        args.data_dir, args.train_list, RandomCropFlip(args.crop_size), args.resize, args.seed
    )
    val_set = ChestXray14(args.data_dir, args.val_list, CenterCrop(args.crop_size), args.resize)
    network = CheXNet(
        len(CLASS_NAMES), pretrained=args.pretrained == "imagenet" and not args.weights
    )
    if args.weights:
        load_weights(network, args.weights)

    model = paddle.Model(
        network,
        inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
        labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
    )
    rates = [args.learning_rate * args.decay_factor**n for n in range(len(args.decay_epochs) + 1)]
    schedule = paddle.optimizer.lr.PiecewiseDecay(args.decay_epochs, rates)
    optimizer = paddle.optimizer.Adam(schedule, parameters=network.parameters())
    model.prepare(optimizer, LogLoss(), AUROC(CLASS_NAMES))

    sampler = paddle.io.DistributedBatchSampler(train_set, args.batch_size, shuffle=True)
    train_loader = FilmLoader(train_set, batch_sampler=sampler, num_workers=args.num_workers)
    val_loader = FilmLoader(val_set, batch_size=args.batch_size, num_workers=args.num_workers)

    config = {**vars(args), "device": device, **environment()}
    with logged(args.log_dir):
        print(json.dumps(config))
        print(f"films come from {train_set.source}")
        with write_whole(os.path.join(args.save_dir, "config.json"), "w") as file:
            json.dump(config, file, indent=2)
        model.fit(
            train_loader,
            val_loader,
            epochs=args.epochs,
            log_freq=args.log_freq,
            verbose=2,
            callbacks=[
                SeedEpoch(sampler, train_set, args.seed),
                FiniteLoss(args.save_dir),
                paddle.callbacks.LRScheduler(by_step=False, by_epoch=True),
                EpochCheckpoint(args.save_dir),
                BestModel(
                    os.path.join(args.save_dir, "best_model.pdparams"), patience=args.patience
                ),
            ],
        )


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
