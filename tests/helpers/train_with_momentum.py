"""train.py with SGD and momentum for Adam, the worked example of CONTRIBUTING.md: run by a test."""

import pathlib
import sys
import zlib  # noqa: F401  (before Paddle 2.6, which has one of its own; train.py's parser does so)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import train
from runtime import command_line


def make_optimizer(network, *options):
    _, rates = ADAM(network, *options)
    momentum = train.paddle.optimizer.Momentum(rates, 0.9, parameters=network.parameters())
    return momentum, rates


ADAM, train.make_optimizer = train.make_optimizer, make_optimizer
command_line.run(train.main, train.parse_args())
