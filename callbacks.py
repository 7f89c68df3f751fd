"""What the scripts add to paddle.callbacks: a run that can be stopped anywhere and goes on."""

import csv
import datetime
import math
import os
import re
import shutil
import signal
import time

import numpy as np
import paddle
from tqdm import tqdm

from files import UserError, read_pickle, write_whole
from model import load_weights, save_state


class Run:
    """Where a training run stands, besides the weights and the optimiser's state.

    The order of the films and their random crops follow from seed and epoch
    (`loader.EpochSampler`), and the network draws nothing at random: no generator to keep.

    Attributes:
        epoch: epochs that are complete, evaluation included; the index of the one under way.
        step: batches of that epoch that are done.
        train_loss: sum of their losses.
        skipped: how many of them the loss scaler left out.
        best: best value of the monitored metric so far, NaN before the first.
        waited: evaluations since then.
        history: list of dicts, one an epoch: the rows of metrics.csv.
    """

    def __init__(self):
        self.epoch = self.step = self.skipped = self.waited = 0
        self.train_loss = 0.0
        self.best = float("nan")
        self.history = []


class Upkeep(paddle.callbacks.Callback):
    """Keeps a `Run` and the data in step with `paddle.Model.fit`; comes first among the callbacks.

    Args:
        run: the `Run`; its `epoch` and `step` hold, not those that `fit` counts from 0.
        sampler: the training films' `loader.EpochSampler`.
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
        self.run.train_loss += float(np.ravel(logs["loss"])[0])

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
    """Prints what `paddle.Model` prints, where a run goes on too; and the time left.

    Args:
        run: the `Run`.
        log_freq: steps between lines.
    """

    def __init__(self, run, log_freq):
        super().__init__(log_freq, verbose=2)
        self.run = run

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        self.epochs += self.run.epoch

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(self.run.epoch, logs)
        self.train_step = self.run.step
        self.whole = self.run.step == 0
        self.began = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        if logs:  # none where a run goes on after the last step of an epoch
            super().on_epoch_end(epoch, logs)

    def on_eval_end(self, logs=None):
        super().on_eval_end(logs)
        left = self.epochs - self.run.epoch - 1
        if self.whole and left and self._is_print():
            took = datetime.timedelta(seconds=round(time.monotonic() - self.began))
            print(f"epoch took {took}; at most {left * took} left")


class FiniteLoss(paddle.callbacks.Callback):
    """Stops training at the first loss that is not a number, before it reaches a checkpoint.

    Args:
        run: the `Run`.
        save_dir: where the checkpoints are, for the message.
    """

    def __init__(self, run, save_dir):
        super().__init__()
        self.run, self.save_dir = run, save_dir

    def on_train_batch_end(self, step, logs=None):
        loss = float(np.ravel(logs["loss"])[0])
        if not math.isfinite(loss):
            raise UserError(
                f"epoch {self.run.epoch + 1}, step {self.run.step}: "
                f"want a finite loss, got {loss}; "
                f"lower --learning-rate (what {self.save_dir} holds is from before)"
            )


class SkippedSteps(paddle.callbacks.Callback):
    """Counts the steps that the loss scaler of float16 training left out, and tells each epoch.

    A step is left out when a gradient overflows; a few, until the scale has settled, are normal.

    Args:
        run: the `Run`.
    """

    def __init__(self, run):
        super().__init__()
        self.run, self.before = run, None

    def on_train_batch_end(self, step, logs=None):
        state = self.model._scaler.state_dict()
        now = int(state["incr_count"]), float(np.ravel(state["scale"])[0])
        # After a good step the count of good steps grows, or starts anew at a larger scale.
        if self.before is not None and now[0] <= self.before[0] and now[1] <= self.before[1]:
            self.run.skipped += 1
        self.before = now

    def on_epoch_end(self, epoch, logs=None):
        if is_first_rank():
            print(f"the loss scaler skipped {self.run.skipped} of {self.run.step} steps")


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
                save_state(self.network.state_dict(), self.path)
                print(f"best {self.monitor} so far: {value:.4f}, saved {self.path}")
            return
        run.waited += 1
        if run.waited >= self.patience:
            self.model.stop_training = True
            if is_first_rank():
                print(
                    f"early stopping: no better {self.monitor} than {run.best:.4f} "
                    f"in {run.waited} evaluations"
                )


class EpochSchedule(paddle.callbacks.LRScheduler):
    """Moves the learning rate on after each epoch's evaluation.

    Args:
        schedule: a `paddle.optimizer.lr` scheduler; `ReduceOnPlateau` is told the validation loss.
    """

    def __init__(self, schedule):
        super().__init__(by_step=False, by_epoch=False)  # fit would move it on at every step
        self.schedule = schedule

    def on_eval_end(self, logs=None):
        if isinstance(self.schedule, paddle.optimizer.lr.ReduceOnPlateau):
            self.schedule.step(logs["loss"])
        else:
            self.schedule.step()


class Checkpoints(paddle.callbacks.Callback):
    """Saves all that a run needs to go on, to the bit; comes last among the callbacks.

    A checkpoint is a folder, there complete or not at all: `epoch_<n>` after an epoch's
    evaluation, `epoch_<n>_step_<s>` within an epoch and before its evaluation. It holds
    `weights.pdparams`, `optimizer.pdopt` and `run.pdstate`. metrics.csv beside the folders has a
    line for each epoch.

    Args:
        run: the `Run`.
        network: the layer to save.
        optimizer: its optimiser.
        metric: the `metrics.AUROC` of the training films.
        folder: for the checkpoints.
        save_steps: steps between checkpoints within an epoch, or None.
        keep: of how many epochs the checkpoints stay; of those within epochs, the last one does.
    """

    def __init__(self, run, network, optimizer, metric, folder, save_steps=None, keep=3):
        super().__init__()
        self.run, self.network, self.optimizer, self.metric = run, network, optimizer, metric
        self.folder, self.save_steps, self.keep = folder, save_steps, keep
        self.asked_to_stop = None

    def found(self):
        """Return the paths of the complete checkpoints, the latest last."""
        places = {}
        for name in os.listdir(self.folder) if os.path.isdir(self.folder) else []:
            if match := re.fullmatch(r"epoch_(\d+)(?:_step_(\d+))?", name):
                epoch, step = match.groups()
                places[int(epoch), int(step) if step else math.inf] = name
        return [os.path.join(self.folder, places[place]) for place in sorted(places)]

    def restore(self, path):
        """Take network, optimiser, metric and run back to where a checkpoint stood.

        Returns:
            The loss scaler's state, or None.

        Raises:
            UserError: a file of it is missing, broken, or of another network.
        """
        load_weights(self.network, os.path.join(path, "weights.pdparams"))
        name = os.path.join(path, "optimizer.pdopt")
        state = read_pickle(name)
        for parameter in filter(lambda p: p.trainable, self.network.parameters()):
            moment = state.get(f"{parameter.name}_moment1_0") if isinstance(state, dict) else None
            if list(np.shape(moment)) != list(parameter.shape):
                raise UserError(
                    f"{name}: want Adam's moments of {parameter.name}, got none that fit; "
                    f"remove {path} to go on from the checkpoint before it"
                )
        self.optimizer.set_state_dict(state)
        name = os.path.join(path, "run.pdstate")
        try:
            state = read_pickle(name)
            self.metric.set_state_dict(state["metric"])
            vars(self.run).update({key: state["run"][key] for key in vars(Run())})
            return state["scaler"]
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{name}: want the state of a run, got something else; "
                f"remove {path} to go on from the checkpoint before it"
            ) from None

    def save(self):
        """Write a checkpoint and remove those that are no longer wanted."""
        if not is_first_rank():
            return
        run = self.run
        name = f"epoch_{run.epoch + 1}_step_{run.step}" if run.step else f"epoch_{run.epoch}"
        path = os.path.join(self.folder, name)
        partial = f"{path}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            save_state(self.network.state_dict(), os.path.join(partial, "weights.pdparams"))
            save_state(self.optimizer.state_dict(), os.path.join(partial, "optimizer.pdopt"))
            scaler = getattr(self.model, "_scaler", None)
            state = {
                "run": vars(run),
                "metric": self.metric.state_dict(),
                "scaler": scaler and scaler.state_dict(),
            }
            save_state(state, os.path.join(partial, "run.pdstate"))
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        found = self.found()
        after_epochs = [other for other in found if "_step_" not in os.path.basename(other)]
        for other in found:
            if other not in (*after_epochs[-self.keep :], found[-1]):
                shutil.rmtree(other)

    def on_train_begin(self, logs=None):
        def ask_to_stop(number, frame):
            self.asked_to_stop = signal.Signals(number)
            signal.signal(number, signal.SIG_DFL)  # asked again: at once

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)

    def on_train_end(self, logs=None):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, step, logs=None):
        if self.asked_to_stop or (self.save_steps and self.run.step % self.save_steps == 0):
            self.save()
        self._leave_if_asked()

    def on_epoch_end(self, epoch, logs=None):
        self.save()

    def on_eval_batch_end(self, step, logs=None):
        self._leave_if_asked()

    def on_eval_end(self, logs=None):
        run = self.run
        run.epoch, run.step, run.skipped, run.train_loss = run.epoch + 1, 0, 0, 0.0
        self.save()
        if is_first_rank():
            with write_whole(os.path.join(self.folder, "metrics.csv"), "w") as file:
                table = csv.DictWriter(file, run.history[0], lineterminator="\n")
                table.writeheader()
                table.writerows(run.history)
        self._leave_if_asked()

    def _leave_if_asked(self):
        if self.asked_to_stop:
            if is_first_rank():
                last = self.found()[-1]
                print(f"{self.asked_to_stop.name}: saved {last}; --resume goes on from there")
            raise SystemExit(128 + self.asked_to_stop)


def is_first_rank():
    """Tell whether this process writes and prints: of several, one does."""
    return paddle.distributed.get_rank() == 0


class BatchBar(paddle.callbacks.Callback):
    """A tqdm bar over the batches of an evaluation. Close it, also after an error."""

    def __init__(self):
        super().__init__()
        self.bar = None

    def on_eval_begin(self, logs=None):
        self.bar = tqdm(total=logs["steps"], unit="batch", disable=not is_first_rank())

    def on_eval_batch_end(self, step, logs=None):
        self.bar.update()

    def close(self):
        if self.bar is not None:
            self.bar.close()
