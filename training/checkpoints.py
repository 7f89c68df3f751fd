"""A training run that can be stopped at any moment and goes on to the bit."""

import csv
import math
import os
import re
import shutil
import signal
import time

import numpy as np
import paddle
from paddle.base.layer_helper import LayerHelper
from paddle.utils import unique_name

from runtime.devices import is_first_rank
from runtime.files import UserError, write_whole
from training.ranks import gather_statistics, largest, mean_statistics, set_statistics
from training.recipe import float32_state
from weights.untrusted_files import read_pickle
from weights.weight_files import save_state

# Seconds after a signal in which further ones say nothing new. Slurm signals every process, and
# Paddle's launcher each of its ranks three times, 0.2 s apart, one rank after the other.
SAME_WISH = 10


def find_checkpoints(folder):
    """Return the paths of the complete checkpoints in a folder, the latest last."""
    places = {}
    for name in os.listdir(folder) if os.path.isdir(folder) else []:
        if match := re.fullmatch(r"epoch_(\d+)(?:_step_(\d+))?", name):
            epoch, step = match.groups()
            places[int(epoch), int(step) if step else math.inf] = name
    return [os.path.join(folder, places[place]) for place in sorted(places)]


class Run:
    """The state of a training run, besides the weights and the optimiser's state.

    The order of the films and their random crops follow from seed and epoch
    (`films.film_loader.EpochSampler`); the network draws nothing at random: no generator to keep.

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


class Checkpoints(paddle.callbacks.Callback):
    """Saves all that a run needs to go on, to the bit; comes last among the callbacks.

    A checkpoint is a folder, there complete or not at all: `epoch_<n>` after an epoch's
    evaluation, `epoch_<n>_step_<s>` within an epoch and before its evaluation. It holds
    `weights.pdparams`, `optimizer.pdopt` and `run.pdstate`. metrics.csv beside the folders has a
    line for each epoch.

    Of several ranks the first writes, and all stop at the same step. The running statistics in
    weights.pdparams are the mean of the ranks'; each rank's own are in run.pdstate, so that a run
    that goes on within an epoch ends as if it had not stopped.

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
        self.asked_to_stop, self._asked_at, self._launcher = 0, None, None

    def restore(self, path, scaler=None):
        """Set optimiser, metric, run and loss scaler to the state of a checkpoint.

        The network's weights are loaded before: half precision may have changed it since.

        Args:
            path: of the checkpoint.
            scaler: the loss scaler, or None.

        Raises:
            UserError: a file of it is missing, broken, or of another network.
        """
        restore_optimizer(self.optimizer, self.network, os.path.join(path, "optimizer.pdopt"))
        name = os.path.join(path, "run.pdstate")
        try:
            state = read_pickle(name)
            self.metric.set_state_dict(state["metric"])
            vars(self.run).update({key: state["run"][key] for key in vars(Run())})
            if "statistics" in state:  # of several ranks
                set_statistics(self.network, state["statistics"][paddle.distributed.get_rank()])
            if scaler and state["scaler"]:
                scaler.load_state_dict(state["scaler"])
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            raise UserError(
                f"{name}: this is not the state of a run; "
                f"remove {path} to go on from the checkpoint before it"
            ) from None
        self._write_history()  # killed after its last checkpoint, a run may lack a line

    def save(self):
        """Write a checkpoint and remove those that are no longer wanted.

        Raises:
            UserError: the weights are not finite. It is raised on all ranks; nothing is written.
        """
        statistics = gather_statistics(self.network)
        if statistics is not None:
            set_statistics(self.network, mean_statistics(statistics))
        weights = float32_state(self.network)
        self._check_finite(weights)
        if is_first_rank():
            self._write(weights, statistics)
        if statistics is not None:
            set_statistics(self.network, statistics[paddle.distributed.get_rank()])

    def _check_finite(self, weights):
        finite = all(np.isfinite(tensor.numpy()).all() for tensor in weights.values())
        if largest(not finite):
            raise UserError(
                f"epoch {self.run.epoch + 1}, step {self.run.step}: want finite weights, got NaN "
                f"or infinity; lower --learning-rate (what {self.folder} holds is from before)"
            )

    def _write(self, weights, statistics):
        run = self.run
        name = f"epoch_{run.epoch + 1}_step_{run.step}" if run.step else f"epoch_{run.epoch}"
        path = os.path.join(self.folder, name)
        partial = f"{path}.tmp"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            save_state(weights, os.path.join(partial, "weights.pdparams"))
            state = dict(self.optimizer.state_dict())
            if "master_weights" in state:  # tensors in a dict in a dict become tuples in the file
                masters = state["master_weights"].items()
                state["master_weights"] = {name: tensor.numpy() for name, tensor in masters}
            save_state(state, os.path.join(partial, "optimizer.pdopt"))
            scaler = self.model.scaler
            state = {
                "run": vars(run),
                "metric": self.metric.state_dict(),
                "scaler": scaler and scaler.state_dict(),
                **({} if statistics is None else {"statistics": statistics}),
            }
            save_state(state, os.path.join(partial, "run.pdstate"))
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        found = find_checkpoints(self.folder)
        after_epochs = [other for other in found if "_step_" not in os.path.basename(other)]
        for other in found:
            if other not in (*after_epochs[-self.keep :], found[-1]):
                shutil.rmtree(other)

    def on_train_begin(self, logs=None):
        self._launcher = os.getppid()

        def ask_to_stop(number, frame):
            if not self.asked_to_stop:
                self.asked_to_stop, self._asked_at = number, time.monotonic()
            elif time.monotonic() - self._asked_at > SAME_WISH:  # asked again: at once
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, ask_to_stop)

    def on_train_end(self, logs=None):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

    def on_train_batch_end(self, step, logs=None):
        asked = self._asked()
        if asked or (self.save_steps and self.run.step % self.save_steps == 0):
            self.model.read_results()  # stops at a loss that is not finite
            self.save()
        self._leave(asked)

    def on_epoch_end(self, epoch, logs=None):
        statistics = gather_statistics(self.network)
        if statistics is not None:  # all ranks evaluate the network that is saved
            set_statistics(self.network, mean_statistics(statistics))
        self.save()

    def on_eval_batch_end(self, step, logs=None):
        self._leave(self._asked())

    def on_eval_end(self, logs=None):
        run = self.run
        run.epoch, run.step, run.skipped, run.train_loss = run.epoch + 1, 0, 0, 0.0
        self.save()
        self._write_history()
        self._leave(self._asked())

    def _write_history(self):
        """Write metrics.csv, a line for each epoch that is complete."""
        history = self.run.history
        if history and is_first_rank():
            with write_whole(os.path.join(self.folder, "metrics.csv"), "w") as file:
                table = csv.DictWriter(file, history[0], lineterminator="\n")
                table.writeheader()
                table.writerows(history)

    def _asked(self):
        """Return the signal by which a rank was asked to stop, the same on all ranks, or 0."""
        if paddle.distributed.get_world_size() > 1 and os.getppid() != self._launcher:
            # Ranks have sessions of their own: nothing else ends them when their launcher is gone.
            self.asked_to_stop = self.asked_to_stop or signal.SIGTERM
        return largest(self.asked_to_stop)

    def _leave(self, asked):
        """End this process if a rank was asked to by a signal, once the first rank has saved."""
        if asked:
            if is_first_rank():
                name, last = signal.Signals(asked).name, find_checkpoints(self.folder)[-1]
                print(f"{name}: saved {last}; --resume goes on from there")
            largest(0)  # a launcher gives the ranks three seconds when the first of them ends
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # all is saved: the exit status stays
            raise SystemExit(128 + asked)


def restore_optimizer(optimizer, network, path):
    """Set an optimiser, of any kind, to the state in a file.

    Args:
        optimizer: a `paddle.optimizer.Optimizer` that has done no step yet.
        network: the layer whose parameters it moves.
        path: optimizer.pdopt of a checkpoint.

    Raises:
        UserError: a tensor is missing or does not fit.
    """
    file = read_pickle(path)
    file = file if isinstance(file, dict) else {}
    masters = file.get("master_weights")
    masters = masters if isinstance(masters, dict) else {}
    own = _own_state(optimizer, network)
    tensors = {("master weight of ", name): t for name, t in own.pop("master_weights", {}).items()}
    tensors |= {("", name): t for name, t in own.items() if isinstance(t, paddle.Tensor)}
    for (kind, name), tensor in tensors.items():
        array = (masters if kind else file).get(name)
        if array is None or list(np.shape(array)) != list(tensor.shape):
            found = "none" if array is None else f"one of shape {list(np.shape(array))}"
            raise UserError(
                f"{path}: {type(optimizer).__name__} needs a {kind or 'tensor '}{name} of shape "
                f"{list(tensor.shape)}, there is {found}; go on with the optimiser of that run, or "
                f"remove {os.path.dirname(path)} to go on from the checkpoint before it"
            )
        _set(tensor, np.asarray(array, np.float32))
    schedule = optimizer._learning_rate
    if isinstance(schedule, paddle.optimizer.lr.LRScheduler):
        try:
            schedule.set_state_dict(file.get("LR_Scheduler", {}))
        except (AttributeError, RuntimeError, TypeError):
            raise UserError(
                f"{path}: no state of a {type(schedule).__name__} in it; go on with the schedule "
                "of that run"
            ) from None


def _own_state(optimizer, network):
    """Return an optimiser's state dict, whose tensors it otherwise makes in its first step."""
    if getattr(optimizer, "helper", None) is None:  # as Paddle 2.6 needs it
        optimizer.helper = LayerHelper(type(optimizer).__name__)
    parameters = [parameter for parameter in network.parameters() if parameter.trainable]
    block = paddle.static.default_main_program().global_block()
    with unique_name.guard():  # the names that they have in a process of its own
        optimizer._create_accumulators(block, parameters)
    return dict(optimizer.state_dict())


def _set(tensor, array):
    """Set a tensor where it is: Adam keeps the powers of its betas on the host, set_value moves."""
    is_on_host = tensor.place.is_cpu_place()
    tensor.set_value(array)
    if is_on_host and not tensor.place.is_cpu_place():
        tensor.get_tensor().set(array, paddle.CPUPlace())
