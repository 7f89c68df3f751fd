"""What train.py adds to paddle.callbacks."""

import contextlib
import datetime
import io
import math
import time

import numpy as np
import paddle

from runtime.devices import is_first_rank, print_on_first_rank
from runtime.files import UserError, first_line
from training.recipe import float32_state
from weights.weight_files import save_state


class Upkeep(paddle.callbacks.Callback):
    """Keeps a `Run` and the data in step with `paddle.Model.fit`; comes first among the callbacks.

    Args:
        run: the `Run`; its `epoch` and `step` hold, not those that `fit` counts from 0.
        sampler: the training films' `films.film_loader.EpochSampler`.
        log_loss: the `metrics.MeanLogLoss` among the model's metrics. It becomes the loss of an
            evaluation, where `paddle.Model` shows the last batch's.
    """

    def __init__(self, run, sampler, log_loss):
        super().__init__()
        self.run, self.sampler, self.log_loss = run, sampler, log_loss
        self.warned = False

    def on_epoch_begin(self, epoch, logs=None):
        self.sampler.begin(self.run.epoch, self.run.step)

    def on_train_batch_end(self, step, logs=None):
        self.run.step += 1
        if self.run.step == len(self.sampler):  # the metrics are reset as an epoch ends
            self.model.read_results(logs)

    def on_eval_end(self, logs=None):
        run = self.run
        logs["loss"] = self.log_loss.value
        aurocs = {key: float(logs[key]) for key in logs if key.startswith("AUROC_")}
        undefined = [key for key, value in aurocs.items() if math.isnan(value)]
        if undefined and not self.warned and is_first_rank():
            print(f"warning: AUROC_avg is not over {', '.join(undefined)}: no films of both kinds")
            self.warned = True
        run.history.append(
            {
                "epoch": run.epoch + 1,
                "learning_rate": self.model._optimizer.get_lr(),
                "train_loss": run.train_loss / run.step,
                "val_loss": logs["loss"],
                **{f"val_{key}": value for key, value in aurocs.items()},
            }
        )


class Lines(paddle.callbacks.ProgBarLogger):
    """Prints what `paddle.Model` prints, with the run's own epochs and steps after a resume.

    Its line about averages is left out: the metrics here are of all films so far, not averages.

    Args:
        run: the `Run`.
        log_freq: steps between lines.
    """

    def __init__(self, run, log_freq):
        super().__init__(log_freq, verbose=2)
        self.run = run

    def on_train_begin(self, logs=None):
        with contextlib.redirect_stdout(io.StringIO()):
            super().on_train_begin(logs)
        self.epochs += self.run.epoch

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(self.run.epoch, logs)
        self.train_step = self.run.step

    def on_train_batch_end(self, step, logs=None):
        if self.run.step % self.log_freq == 0:
            self.model.read_results(logs)
        super().on_train_batch_end(step, logs)

    def on_epoch_end(self, epoch, logs=None):
        if logs:  # none where a run goes on after the last step of an epoch
            super().on_epoch_end(epoch, logs)


class EpochLine(paddle.callbacks.Callback):
    """Prints two short lines an epoch; comes after `BestModel`.

        epoch 3/20: train loss 0.1650, val loss 0.1712, val AUROC_avg 0.8123 (best), rate 0.001
        epoch 3/20: took 0:12:03, at most 3:24:51 left

    The second is missing for an epoch that this process did not begin.

    Args:
        run: the `Run`.
        epochs: of the whole run.
        monitor: what decides which epoch is best, as for `BestModel`.
    """

    def __init__(self, run, epochs, monitor="AUROC_avg"):
        super().__init__()
        self.run, self.epochs, self.monitor = run, epochs, monitor

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.monotonic() if self.run.step == 0 else None

    def on_eval_end(self, logs=None):
        row, parts = self.run.history[-1], []
        for name in ("train_loss", "val_loss", "val_AUROC_avg"):
            best = not self.run.waited and name == f"val_{self.monitor}"
            parts.append(f"{name.replace('_', ' ', 1)} {row[name]:.4f}{' (best)' * best}")
        parts.append(f"rate {row['learning_rate']:.3g}")
        epoch, left = f"epoch {row['epoch']}/{self.epochs}", self.epochs - row["epoch"]
        print_on_first_rank(f"{epoch}: {', '.join(parts)}")
        if self.began is not None:
            took = datetime.timedelta(seconds=round(time.monotonic() - self.began))
            print_on_first_rank(
                f"{epoch}: took {took}" + (f", at most {left * took} left" if left else "")
            )


class SkippedSteps(paddle.callbacks.Callback):
    """Tells each epoch how many steps the loss scaler of float16 training left out.

    A step is left out when a gradient overflows; a few, until the scale has settled, are normal.

    Args:
        run: the `Run`, whose `skipped` the `Trainer` counts.
    """

    def __init__(self, run):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        print_on_first_rank(f"the loss scaler skipped {self.run.skipped} of {self.run.step} steps")


class BestModel(paddle.callbacks.Callback):
    """Keeps the weights that did best on the validation films, and stops when they stay the best.

    Args:
        run: the `Run`.
        network: the layer to save.
        path: the `.pdparams` file to save it in.
        monitor: "AUROC_avg", where more is better, or "loss", where less is.
        patience: evaluations without a better value before training stops.
    """

    def __init__(self, run, network, path, monitor="AUROC_avg", patience=10):
        super().__init__()
        self.run, self.network, self.path = run, network, path
        self.monitor, self.patience = monitor, patience

    def on_eval_end(self, logs=None):
        run, value = self.run, float(logs[self.monitor])
        better = value < run.best if self.monitor == "loss" else value > run.best
        if better or (math.isnan(run.best) and not math.isnan(value)):
            run.best, run.waited = value, 0
            if is_first_rank():
                save_state(float32_state(self.network), self.path)
                print(f"best {self.monitor} so far: {value:.4f}, saved {self.path}")
            return
        run.waited += 1
        if run.waited >= self.patience:
            self.model.stop_training = True
            print_on_first_rank(
                f"early stopping: no better {self.monitor} than {run.best:.4f} "
                f"in {run.waited} evaluations"
            )


class EpochSchedule(paddle.callbacks.LRScheduler):
    """Moves the learning rate on after each epoch's evaluation.

    Args:
        schedule: a `paddle.optimizer.lr` scheduler; `ReduceOnPlateau` gets the validation loss.
    """

    def __init__(self, schedule):
        super().__init__(by_step=False, by_epoch=False)  # fit would move it on at every step
        self.schedule = schedule

    def on_eval_end(self, logs=None):
        if isinstance(self.schedule, paddle.optimizer.lr.ReduceOnPlateau):
            self.schedule.step(logs["loss"])
        else:
            self.schedule.step()


class Scalars(paddle.callbacks.Callback):
    """Writes what is printed for VisualDL, with steps that count on where a run goes on.

    Args:
        run: the `Run`.
        folder: for the event files; `visualdl --logdir` shows them.
        log_freq: steps between training scalars, as for `Lines`, which comes before.

    Raises:
        UserError: visualdl is not installed.
    """

    def __init__(self, run, folder, log_freq):
        super().__init__()
        try:
            from visualdl import LogWriter
        except ImportError as error:
            raise UserError(
                f"--visualdl: cannot import the package visualdl ({first_line(error)}); "
                "pip install visualdl"
            ) from None
        self.run, self.log_freq = run, log_freq
        self.writer = LogWriter(folder)

    def _write(self, split, logs, step):
        for key, value in logs.items():
            if key == "loss" or key.startswith("AUROC_"):
                self.writer.add_scalar(f"{split}/{key}", float(np.ravel(value)[0]), step)

    def on_train_batch_end(self, step, logs=None):
        if self.run.step % self.log_freq == 0:
            self._write("train", logs, self.run.epoch * self.params["steps"] + self.run.step)

    def on_eval_end(self, logs=None):
        self._write("val", logs, self.run.epoch + 1)
        rate = self.model._optimizer.get_lr()
        self.writer.add_scalar("learning_rate", rate, self.run.epoch + 1)

    def on_train_end(self, logs=None):
        self.writer.close()
