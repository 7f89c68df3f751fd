"""train.py with a loss that is NaN in the third step of rank 1 alone: run by a test."""

import pathlib
import sys
import zlib  # noqa: F401  (before Paddle 2.6, which has one of its own; train.py's parser does so)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))

import train
from runtime import command_line
from training import trainer


class LogLoss(trainer.LogLoss):
    steps = 0

    def forward(self, probs, labels):
        LogLoss.steps += 1
        is_bad = trainer.paddle.distributed.get_rank() == 1 and LogLoss.steps == 3
        return super().forward(probs, labels) * (float("nan") if is_bad else 1.0)


trainer.LogLoss = LogLoss
command_line.run(train.main, train.parse_args())
