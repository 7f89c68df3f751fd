"""What the scripts add to paddle.callbacks."""

import math
import os
import shutil

import numpy as np
import paddle
from tqdm import tqdm

from files import UserError
from model import save_state


class SeedEpoch(paddle.callbacks.Callback):
    """Makes the data of an epoch depend on the seed and the epoch's number alone.

    Paddle's sampler shuffles by the epoch's number whatever the seed.

    Args:
        sampler: a `paddle.io.DistributedBatchSampler`.
        dataset: its data set; its `epoch` is set.
        seed: whole number.
    """

    def __init__(self, sampler, dataset, seed):
        super().__init__()
        self.sampler, self.dataset, self.seed = sampler, dataset, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.dataset.epoch = epoch
        order = np.random.SeedSequence((self.seed, epoch)).generate_state(1)[0]
        self.sampler.set_epoch(int(order))


class FiniteLoss(paddle.callbacks.Callback):
    """Stops training at the first loss that is not a number, before it reaches a checkpoint.

    Args:
        save_dir: where the checkpoints are, for the message.
    """

    def __init__(self, save_dir):
        super().__init__()
        self.save_dir = save_dir

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, step, logs=None):
        loss = float(np.ravel(logs["loss"])[0])
        if not math.isfinite(loss):
            raise UserError(
                f"epoch {self.epoch + 1}, step {step + 1}: want a finite loss, got {loss}; "
                f"lower --learning-rate (what {self.save_dir} holds is from before)"
            )


class EpochCheckpoint(paddle.callbacks.Callback):
    """Keeps weights and optimiser state of each epoch: `epoch_<n>/weights.pdparams`, `.pdopt`.

    Args:
        save_dir: folder for the checkpoints; a checkpoint appears there complete or not at all.
    """

    def __init__(self, save_dir):
        super().__init__()
        self.save_dir = save_dir

    def on_epoch_end(self, epoch, logs=None):
        folder = os.path.join(self.save_dir, f"epoch_{epoch + 1}")
        partial = f"{folder}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        weights, optimizer = self.model.network.state_dict(), self.model._optimizer.state_dict()
        save_state(weights, os.path.join(partial, "weights.pdparams"))
        save_state(optimizer, os.path.join(partial, "optimizer.pdopt"))
        os.replace(partial, folder)


class BestModel(paddle.callbacks.Callback):
    """Keeps the weights that did best on the validation films, and stops when they stay the best.

    Args:
        path: the `.pdparams` file to keep them in.
        monitor: name of the metric, higher is better.
        patience: evaluations without a better value before training stops.
    """

    def __init__(self, path, monitor="AUROC_avg", patience=10):
        super().__init__()
        self.path, self.monitor, self.patience = path, monitor, patience
        self.best, self.waited = -math.inf, 0

    def on_eval_end(self, logs=None):
        value = logs[self.monitor]
        if value > self.best:  # never true of NaN
            self.best, self.waited = value, 0
            save_state(self.model.network.state_dict(), self.path)
            print(f"best {self.monitor} so far: {value:.4f}, saved {self.path}")
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.model.stop_training = True
            print(
                f"early stopping: no better {self.monitor} than {self.best:.4f} "
                f"in {self.waited} evaluations"
            )


class BatchBar(paddle.callbacks.Callback):
    """A tqdm bar over the batches of an evaluation. Close it, also after an error."""

    def __init__(self):
        super().__init__()
        self.bar = None

    def on_eval_begin(self, logs=None):
        self.bar = tqdm(total=logs["steps"], unit="batch")

    def on_eval_batch_end(self, step, logs=None):
        self.bar.update()

    def close(self):
        if self.bar is not None:
            self.bar.close()
