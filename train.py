"""Train CheXNet on ChestX-ray14 with the recipe of the earlier Paddle port.

    python train.py --data-dir ChestX-ray14 --save-dir save

prints `paddle.Model`'s lines, also into logs/, and leaves save/best_model.pdparams for eval.py:

    step  10/614 - loss: 0.1650 - AUROC_Atelectasis: 0.5343 - ... - AUROC_avg: 0.5401 - 3s/step
"""

import os
import sys
import textwrap

from runtime import command_line, environment
from runtime.command_line import int_list, natural_int, positive_float, positive_int

EXAMPLES = """\
  python train.py --data-dir ChestX-ray14 --save-dir save
  python train.py --data-dir ChestX-ray14 --save-dir save --resume    # after any interruption

GiB of a device's memory that a step takes at least, with crops of 224 pixels (docs/gpus.md):
  --batch-size                   16     32     64    128
  float32                       2.0    3.9    7.8   15.5
  --amp O1 or O2                1.1    2.0    3.9    7.8
  --recompute                   0.7    1.3    2.5    4.8
  --recompute --amp O1 or O2    0.4    0.7    1.3    2.5
"""


def parse_args(words=None):
    parser = command_line.ArgumentParser(__doc__, EXAMPLES)
    data = parser.add_argument_group("data and machine")
    command_line.add_data_arguments(data)
    command_line.add_list_arguments(data, ("train", "val"))
    command_line.add_size_arguments(data, 256, 224)
    data.add_argument(
        "--seed",
        type=natural_int,
        default=0,
        help="decides the order of the films, their crops, and the network's random start",
    )
    command_line.add_device_argument(data)
    begin = parser.add_argument_group("start")
    command_line.add_pretrained_argument(begin)
    begin.add_argument("--weights", help="start from this .pdparams or .safetensors file instead")
    recipe = parser.add_argument_group("recipe")
    recipe.add_argument("--epochs", type=positive_int, default=20, help="at most")
    recipe.add_argument(
        "--learning-rate", type=positive_float, default=0.001, help="Adam's, at the start"
    )
    recipe.add_argument(
        "--lr-schedule",
        choices=["step", "plateau"],
        default="step",
        help="lower the rate at --decay-epochs, or when the validation loss stalls, as the paper",
    )
    recipe.add_argument(
        "--decay-epochs",
        type=int_list,
        default="10,15,18",
        help='epochs after which the rate is lowered; "": never',
    )
    recipe.add_argument(
        "--decay-factor",
        type=positive_float,
        default=0.1,
        help="what the rate is multiplied by then",
    )
    recipe.add_argument(
        "--monitor",
        choices=["auroc", "loss"],
        default="auroc",
        help="validation figure that decides which weights are best",
    )
    recipe.add_argument(
        "--patience",
        type=positive_int,
        default=10,
        help="stop after so many epochs without a better --monitor",
    )
    half = parser.add_argument_group("precision, memory and speed (GPU)")
    half.add_argument(
        "--amp",
        choices=["off", "O1", "O2"],
        default="off",
        help="Paddle's automatic mixed precision: O1 casts some operators, O2 also the weights",
    )
    half.add_argument(
        "--amp-dtype",
        choices=["float16", "bfloat16"],
        default="float16",
        help="type of the cast operators; float16 comes with a loss scaler",
    )
    half.add_argument(
        "--tf32",
        action="store_true",
        help="let float32 be TF32 on Ampere and later: faster, with 10 bits of 23",
    )
    half.add_argument(
        "--recompute",
        action="store_true",
        help="keep a third of the memory: batch norms and ReLU are computed again for gradients",
    )
    half.add_argument(
        "--autotune",
        action="store_true",
        help="let Paddle try cuDNN's algorithms in the first steps",
    )
    half.add_argument(
        "--deterministic",
        action="store_true",
        help="only cuDNN algorithms that give the same bits each time: slower",
    )
    output = parser.add_argument_group("output")
    output.add_argument("--save-dir", default="save", help="folder for weights and checkpoints")
    output.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint in --save-dir"
    )
    output.add_argument(
        "--save-steps",
        type=positive_int,
        help="steps between checkpoints within an epoch (default: none within an epoch)",
    )
    output.add_argument(
        "--keep", type=positive_int, default=3, help="epochs whose checkpoints are kept"
    )
    output.add_argument("--log-dir", default="logs", help="folder for a copy of what is printed")
    output.add_argument("--log-freq", type=positive_int, default=10, help="steps between lines")
    output.add_argument(
        "--verbose", action="store_true", help="on a terminal, too, the AUROC of every class"
    )
    output.add_argument("--visualdl", help="folder for VisualDL's scalars (pip install visualdl)")
    args = parser.parse_args(words)
    if args.tf32:
        command_line.allow_tf32(parser, "--tf32")
    if args.deterministic:
        if args.autotune:
            parser.error("--autotune takes whatever algorithm is fastest: not with --deterministic")
        environment.compute_deterministically()
    return args


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once
    environment.compute_on_cores()

import numpy as np
import paddle

from dataset import CenterCrop, ChestXray14, RandomCropFlip
from films.film_loader import EpochSampler, FilmLoader
from films.film_notes import FilmNotes
from films.film_pixels import Reading
from films.label_lists import CLASS_NAMES, films_shared
from kernels import onednn
from model import CheXNet, load_weights
from runtime.devices import describe_device, is_first_rank, print_on_first_rank, set_device
from runtime.files import UserError, read_json, sha256, write_json
from runtime.precision import check_precision, current_float32_kind
from runtime.versions import commit, versions
from training.callbacks import (
    BestModel,
    EpochLine,
    EpochSchedule,
    Lines,
    Scalars,
    SkippedSteps,
    Upkeep,
)
from training.checkpoints import Checkpoints, Run, find_checkpoints
from training.curves import Curves, draw_curves
from training.log_file import log_file
from training.memory import check_recompute, warn_of_memory
from training.ranks import check_same_checkpoint
from training.recipe import half_precision, make_optimizer
from training.trainer import Trainer
from weights.trained_sizes import shown_window

# Options that decide what is learnt: a run goes on with the same ones. --epochs may grow.
FIXED = (
    *("train_sha256", "val_sha256", "seed", "batch_size", "ranks", "resize", "crop_size"),
    *("learning_rate", "lr_schedule", "decay_epochs", "decay_factor", "monitor", "amp"),
    *("amp_dtype", "tf32", "window"),
)
NO_BREAK = "\N{NO-BREAK SPACE}"


def main(args):
    command_line.check_sizes(args.resize, args.crop_size)
    fill_in_defaults(args)
    device = choose_device(args)
    paddle.seed(args.seed)
    train_set, train_loader, val_loader = load_data(args)
    found = find_own_checkpoints(args.save_dir, args.resume)
    network = start(found, args.weights, args.pretrained)
    network.recomputes = args.recompute
    optimizer, schedule = make_optimizer(
        network, args.learning_rate, args.lr_schedule, args.decay_epochs, args.decay_factor
    )
    layer, optimizer, scaler = half_precision(network, optimizer, args.amp, args.amp_dtype)
    run = Run()
    trainer = Trainer(layer, run, args.save_dir, optimizer, scaler)
    checkpoints = Checkpoints(
        run, network, optimizer, trainer.figures, args.save_dir, args.save_steps, args.keep
    )
    config = configuration(args, device)
    with log_file(args.log_dir, args.verbose) as log:
        print_on_first_rank(shown(config))
        print_on_first_rank(f"films come from {train_set.source}")
        if device == "cpu":
            print_on_first_rank(f"the network is computed by {onednn.describe()}")
        if found:
            check_same_options(args.save_dir, config)
            checkpoints.restore(found[-1], scaler)
            print_on_first_rank(f"going on from {found[-1]}")
        elif args.resume:
            print_on_first_rank(f"{args.save_dir} has no checkpoint: starting from the beginning")
        if is_first_rank():
            write_json(os.path.join(args.save_dir, "config.json"), config)
        if run.epoch < args.epochs and run.waited < args.patience:
            steps = callbacks(args, run, trainer, network, train_loader.batch_sampler, schedule)
            left = args.epochs - run.epoch
            trainer.fit(
                train_loader, val_loader, epochs=left, verbose=0, callbacks=[*steps, checkpoints]
            )
        write_doubts(args.save_dir, train_loader, val_loader)
        if is_first_rank():
            draw_curves(run.history, args.save_dir, monitored(args.monitor))
        say_what_is_there(args, run, log)


def choose_device(args):
    """Point Paddle at the device, make sure that it can do what is asked, and return its name."""
    device = set_device(args.device, args.autotune)
    if args.amp != "off" and device == "cpu":
        raise UserError(f"--amp {args.amp}: Paddle has half precision on GPUs only; use off")
    if args.amp != "off":
        check_precision(f"--amp {args.amp} --amp-dtype {args.amp_dtype}", args.amp_dtype)
    if args.tf32:
        check_precision("--tf32", "tf32")
    if args.recompute:
        check_recompute()
    warn_of_memory(args.batch_size, args.crop_size, args.amp != "off", args.recompute)
    return device


def fill_in_defaults(args):
    """Fill in the paths that depend on the data folder."""
    args.train_list = args.train_list or command_line.label_list(args.data_dir, args.split, "train")
    args.val_list = args.val_list or command_line.label_list(args.data_dir, args.split, "val")


def load_data(args):
    """Return the training films and the loaders of training and validation batches."""
    reading = Reading(*command_line.reading_options(args))
    options = {"resize": args.resize, "reading": reading}
    crop = RandomCropFlip(args.crop_size)
    train_set = ChestXray14(args.data_dir, args.train_list, crop, seed=args.seed, **options)
    val_set = ChestXray14(args.data_dir, args.val_list, CenterCrop(args.crop_size), **options)
    if np.isnan(train_set.labels).all():
        raise UserError(f"{args.train_list}: no known label in it to learn from; fill them in")
    if shared := films_shared(val_set.listed, train_set.listed):
        print_on_first_rank(
            f"warning: {args.val_list}: {len(shared)} films are of patients in {args.train_list}, "
            f"{shared[0]} first: its figures will promise too much",
            file=sys.stderr,
        )
    place = paddle.distributed.get_rank(), paddle.distributed.get_world_size()
    samplers = (
        EpochSampler(train_set, args.batch_size, args.seed, *place),
        paddle.io.DistributedBatchSampler(val_set, args.batch_size),
    )
    loaders = [
        FilmLoader(films, batch_sampler=sampler, num_workers=args.num_workers)
        for films, sampler in zip((train_set, val_set), samplers, strict=True)
    ]
    return train_set, *loaders


def find_own_checkpoints(save_dir, resume):
    """Return the checkpoints that the run goes on from: the last of them, [] for a new run."""
    found = find_checkpoints(save_dir)
    if found and not resume:
        raise UserError(
            f"{save_dir}: want a folder without checkpoints, got {len(found)} of an earlier "
            "run; go on with it (--resume), or give another --save-dir"
        )
    if resume:
        check_same_checkpoint(found[-1] if found else None, save_dir)
    return found


def start(found, weights, pretrained):
    """Return the network with the weights that training starts from, or goes on from."""
    weights = os.path.join(found[-1], "weights.pdparams") if found else weights
    network = CheXNet(len(CLASS_NAMES), pretrained=pretrained == "imagenet" and not weights)
    if weights:
        load_weights(network, weights)
    return network


def callbacks(args, run, trainer, network, sampler, schedule):
    """Return what is done beside the steps, in this order; `Checkpoints` comes behind it."""
    monitor = monitored(args.monitor)
    found = [Upkeep(run, sampler, trainer.figures.log_loss), Lines(run, args.log_freq)]
    if trainer.scaler:
        found.append(SkippedSteps(run))
    if args.visualdl and is_first_rank():
        found.append(Scalars(run, args.visualdl, args.log_freq))
    return [
        *found,
        BestModel(run, network, best_weights(args.save_dir), monitor, args.patience),
        EpochLine(run, args.epochs, monitor),
        EpochSchedule(schedule),
        Curves(run, args.save_dir, monitor),
    ]


def monitored(monitor):
    """Return the name in `paddle.Model`'s logs of what --monitor means."""
    return "loss" if monitor == "loss" else "AUROC_avg"


def best_weights(save_dir):
    """Return the path of the best weights."""
    return os.path.join(save_dir, "best_model.pdparams")


def configuration(args, device):
    """Return what config.json will hold: the options, and what else a result depends on."""
    return {
        **vars(args),
        "device": device,
        "hardware": describe_device(),
        "tf32": current_float32_kind() == "tf32",
        "ranks": paddle.distributed.get_world_size(),
        "cpu_kernels": onednn.describe() if device == "cpu" else None,
        "train_sha256": sha256(args.train_list),
        "val_sha256": sha256(args.val_list),
        **versions(),
        "commit": commit(),
    }


def check_same_options(save_dir, config):
    """Raise UserError unless a run goes on with the options that it was begun with."""
    if not (held := read_json(path := os.path.join(save_dir, "config.json"))):
        raise UserError(
            f"{path}: want the options that the run was begun with, got no such file, or another; "
            "put the run's own there, or give another --save-dir"
        )
    # An older run may lack an option, and did then what is the default now.
    before = vars(parse_args([])) | held
    for key in FIXED:
        if before.get(key, config[key]) != config[key]:
            raise UserError(
                f"{save_dir}: want {key} {before.get(key)!r} as in its config.json, "
                f"got {config[key]!r}; go on with the same options, or give another --save-dir"
            )


def write_doubts(save_dir, *loaders):
    """Write which films looked doubtful when they were first read, if any did."""
    notes = FilmNotes()
    for loader in loaders:
        notes.merge(loader.notes)
    if notes.doubts and is_first_rank():
        notes.write(os.path.join(save_dir, "doubted_films.csv"))


def say_what_is_there(args, run, log):
    """Print how the run ended, where its results are, and the command that comes next."""
    monitor, best = monitored(args.monitor), best_weights(args.save_dir)
    is_there = os.path.exists(best)
    print_on_first_rank(f"done: epoch {run.epoch}, best validation {monitor} {run.best:.4f}")
    weights = best if is_there else f"none; {monitor} was never defined on {args.val_list}"
    print_on_first_rank(f"weights: {weights}")
    print_on_first_rank(
        f"figures of each epoch: {args.save_dir}/metrics.csv, curves.png; log: {log}"
    )
    if is_there:
        window = f" --window={shown_window(args.window)}" if args.window else ""
        print_on_first_rank(
            f"next: python eval.py --data-dir {args.data_dir} --weights {best}{window}"
        )


def shown(config):
    """Return the configuration as some lines of key=value."""
    words = (
        f"{key}={','.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in config.items()
    )
    unbroken = "  ".join(word.replace(" ", NO_BREAK) for word in words)
    text = textwrap.fill(unbroken, 100, break_long_words=False, break_on_hyphens=False)
    return text.replace(NO_BREAK, " ")


if __name__ == "__main__":
    command_line.run(main, ARGS)
