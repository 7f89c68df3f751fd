"""Train in Paddle and in PyTorch, on the same films in the same order, and compare their losses.

    python benchmarks/training_parity.py --data-dir ChestX-ray14 --minutes 60

prints, and writes losses.csv, losses.png and losses.svg to --output-dir:

    largest difference of a loss: 1.2e-06 over steps 1 to 50, 3.4e-02 over 1,092 steps

Each step gives one batch of train.py to three networks that began with the same weights: this
project's, PyTorch's, and a second one of PyTorch's that gets the films of the batch in reverse
order. Sums in another order round otherwise and nothing else differs, so the distance between the
two of PyTorch shows what rounding alone does to a training. So does --dtype float64, in which all
three compute with 29 bits more.
"""

import itertools
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from runtime import command_line, environment
from runtime.command_line import int_list, natural_int, positive_float, positive_int

NETWORKS = ("paddle", "pytorch", "pytorch_reversed")


def parse_args(words=None):
    parser = command_line.ArgumentParser(__doc__)
    command_line.add_data_arguments(parser)
    parser.add_argument("--train-list", help="label list (default: labels/train_list.txt)")
    command_line.add_size_arguments(parser, 256, 224)
    parser.add_argument("--seed", type=natural_int, default=0, help="as of train.py")
    parser.add_argument("--learning-rate", type=positive_float, default=0.001, help="Adam's")
    parser.add_argument("--epochs", type=positive_int, default=20, help="at most")
    parser.add_argument("--decay-epochs", type=int_list, default="10,15,18", help="as of train.py")
    parser.add_argument("--minutes", type=positive_float, help="stop after so long")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--output-dir", default="parity", help="folder for losses.csv and pictures")
    return parser.parse_args(words)


if __name__ == "__main__":
    ARGS = parse_args()  # before Paddle is imported: --help and errors come at once
    environment.compute_on_cores()

import numpy as np
import paddle
import torch

from benchmarks.torch_densenet import DenseNet121
from dataset import ChestXray14, RandomCropFlip
from films.csv_rows import write_rows
from films.film_loader import EpochSampler, FilmLoader
from films.film_pixels import Reading
from model import CheXNet, LogLoss, normalize
from runtime.files import write_whole
from runtime.progress import progress_bar
from training.recipe import make_optimizer
from weights.torch_names import paddle_name

COLOURS = dict(zip(NETWORKS, ("#0072B2", "#D55E00", "#999999"), strict=True))
DECAY_FACTOR = 0.1


def main(args):
    paddle.set_device("cpu")
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    path = args.train_list or command_line.label_list(args.data_dir, args.split, "train")
    crop = RandomCropFlip(args.crop_size)
    reading = Reading(*command_line.reading_options(args))
    films = ChestXray14(args.data_dir, path, crop, args.resize, args.seed, reading)
    sampler = EpochSampler(films, args.batch_size, args.seed)
    paddle.seed(args.seed)  # as train.py: the same start
    network = CheXNet()
    network.to(dtype=args.dtype)
    # CheXNet's own head computes in float32 whatever the precision of the rest.
    network.densenet121.out = paddle.nn.Sequential(*network.densenet121.out)
    recipe = args.learning_rate, args.decay_epochs
    trainers = [
        PaddleTrainer(network, *recipe),
        TorchTrainer(network, *recipe),
        TorchTrainer(network, *recipe, reverse=True),
    ]
    end = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    losses = []
    for epoch in range(args.epochs):
        sampler.begin(epoch)
        loader = FilmLoader(films, batch_sampler=sampler, num_workers=args.num_workers)
        for pixels, labels in progress_bar(loader, desc=f"epoch {epoch + 1}"):
            batch = normalize(pixels).astype(args.dtype), labels.astype(args.dtype)
            losses.append([trainer.step(*batch) for trainer in trainers])
            if time.monotonic() > end:
                break
        for trainer in trainers:
            trainer.schedule.step()
        write(losses, args.output_dir)
        if time.monotonic() > end:
            break
    pairs = itertools.pairwise(NETWORKS)
    for (name, other), column in zip(pairs, differences(losses), strict=True):
        print(
            f"largest difference of a loss, {name} and {other}: {column[:50].max():.1e} over steps "
            f"1 to {min(50, len(losses))}, {column.max():.1e} over {len(losses):,} steps"
        )


class PaddleTrainer:
    """This project's training, a step at a time."""

    def __init__(self, network, rate, decay_epochs):
        self.network, self.loss = network, LogLoss()
        self.optimizer, self.schedule = make_optimizer(
            network, rate, "step", decay_epochs, DECAY_FACTOR
        )

    def step(self, films, labels):
        """Learn from films `[N, 3, H, W]` and labels `[N, 14]`; return the loss before it."""
        loss = self.loss(self.network(films), labels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.clear_grad()
        return float(loss)


class TorchTrainer:
    """The same training in PyTorch, from the same weights.

    Args:
        network: the `CheXNet` to begin as.
        rate, decay_epochs: of `make_optimizer`.
        reverse: give each batch's films in reverse order.
    """

    def __init__(self, network, rate, decay_epochs, reverse=False):
        dtype = getattr(torch, str(network.parameters()[0].dtype).removeprefix("paddle."))
        self.network, self.reverse = DenseNet121().to(dtype), reverse
        self.loss = torch.nn.BCELoss()
        state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                if not name.endswith("num_batches_tracked"):
                    array = state[paddle_name(name)]
                    # Linear weights are [in, out] in Paddle, [out, in] in PyTorch.
                    tensor.copy_(torch.from_numpy(array.T if array.ndim == 2 else array))
        self.optimizer = torch.optim.Adam(self.network.parameters(), rate)
        self.schedule = torch.optim.lr_scheduler.MultiStepLR(
            self.optimizer, decay_epochs, DECAY_FACTOR
        )

    def step(self, films, labels):
        """Do what `PaddleTrainer.step` does."""
        arrays = (tensor.numpy()[:: -1 if self.reverse else 1] for tensor in (films, labels))
        images, wanted = (torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
        loss = self.loss(self.network(images), wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()


def differences(losses):
    """Return how far each network's losses are from those of the one before: `[2, steps]`."""
    return np.abs(np.diff(losses, axis=1)).T


def write(losses, folder):
    """Write losses.csv and draw losses.png and losses.svg, each whole."""
    from matplotlib.figure import Figure

    rows = ([n, *row] for n, row in enumerate(losses, 1))
    write_rows(os.path.join(folder, "losses.csv"), ["step", *NETWORKS], rows)
    columns, steps = np.array(losses).T, np.arange(1, len(losses) + 1)
    figure = Figure((10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, column in zip(NETWORKS[:2], columns, strict=False):
        left.plot(steps, column, c=COLOURS[name], lw=0.6, label=name, alpha=0.7)
    left.set(title="Loss of each step", xlabel="step")
    left.legend(frameon=False)
    labels = ("Paddle and PyTorch", "PyTorch and itself, films reversed")
    colours = (COLOURS["paddle"], COLOURS["pytorch_reversed"])
    for column, label, colour in zip(differences(losses), labels, colours, strict=True):
        right.plot(steps, column, c=colour, lw=0.6, label=label)
    right.set(title="Difference of the losses", xlabel="step (log)", xscale="log", yscale="log")
    right.legend(frameon=False)
    for form in ("png", "svg"):
        with write_whole(os.path.join(folder, f"losses.{form}")) as file:
            figure.savefig(file, format=form, dpi=150)


if __name__ == "__main__":
    command_line.run(main, ARGS)
