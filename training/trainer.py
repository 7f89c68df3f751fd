"""`paddle.Model` as train.py uses it: the device does not wait for the host between two steps."""

import math

import paddle

from films.label_lists import CLASS_NAMES
from metrics import AUROCAndLogLoss
from model import LogLoss
from runtime.files import UserError
from training.ranks import largest


class Trainer(paddle.Model):
    """`paddle.Model` that reads what a training step gave while the device does the next one.

    Paddle's own reads loss and probabilities as soon as a step is queued. So it waits until the
    device is done, and then the device waits until metrics, callbacks and loader are done. Here
    they are read behind the next step's forward pass, and used behind its backward pass. Whoever
    needs them sooner, for a line or a checkpoint, calls `read_results`.

    Args:
        network: the layer to train: uint8 films in, probabilities out.
        run: the `training.checkpoints.Run`; the losses are added to its `train_loss`.
        save_dir: where its checkpoints are, for a message.
        optimizer: of the network's parameters.
        scaler: a `training.recipe.LossScaler`, or None.

    Attributes:
        figures: the metrics, a `metrics.AUROCAndLogLoss`.
        scaler: the loss scaler.
    """

    def __init__(self, network, run, save_dir, optimizer, scaler=None):
        super().__init__(
            network,
            inputs=[paddle.static.InputSpec([None, None, None, None], "uint8", "films")],
            labels=[paddle.static.InputSpec([None, len(CLASS_NAMES)], "float32", "labels")],
        )
        self.run, self.save_dir, self.scaler = run, save_dir, scaler
        self.figures = AUROCAndLogLoss(CLASS_NAMES)
        self.prepare(optimizer, LogLoss(), self.figures)
        self._queued = self._last_loss = None

    def train_batch(self, inputs, labels=None, update=True):
        """Queue a step, and take in the results of the one before; return none of its own.

        Raises:
            UserError: the loss of the step before is not finite, on this rank or another.
        """
        if not self.network.training:  # train() asks 427 layers: a millisecond
            self.network.train()
        several = paddle.distributed.get_world_size() > 1
        network = self._adapter.ddp_model if several else self.network
        probs = network(*inputs)
        loss = self._loss(probs, *labels)
        # The device has nothing to do from the end of this forward pass until the backward pass is
        # queued: in between results are only fetched.
        results = self._fetch()
        scaled = self.scaler.scale(loss) if self.scaler else loss
        scaled.backward()
        self._take(results)
        if self.scaler:
            self.scaler.minimize(self._optimizer, scaled)
            self.run.skipped += self.scaler.skipped
        else:
            self._optimizer.step()
        self._optimizer.clear_grad(set_to_zero=False)
        self._queued = loss.detach(), self.figures.compute(probs.detach(), *labels)
        return [], []

    def read_results(self, logs=None):
        """Wait for the last step and take in its results.

        Args:
            logs: a callback's dict, which gets loss and metrics as `paddle.Model` would have them.

        Raises:
            UserError: its loss is not finite, on this rank or another. All ranks must call this at
                the same step.
        """
        self._take(self._fetch())
        if logs is not None:
            values = [[self._last_loss], *self.figures.accumulate()]
            logs.update(zip(self._metrics_name(), values, strict=True))

    def _fetch(self):
        """Return loss and metrics' input of the step that is queued, from the device; or None."""
        if self._queued is None:
            return None
        (loss, outputs), self._queued = self._queued, None
        loss = float(loss)
        if largest(not math.isfinite(loss)):  # one rank's reaches all ranks' weights
            got = "NaN or infinity on another rank" if math.isfinite(loss) else loss
            raise UserError(
                f"epoch {self.run.epoch + 1}, step {self.run.step}: want a finite loss, got {got}; "
                f"lower --learning-rate (what {self.save_dir} holds is from before)"
            )
        return loss, outputs.numpy()

    def _take(self, results):
        """Add a step's results to the run and the metrics."""
        if results is not None:
            self._last_loss, outputs = results
            self.run.train_loss += self._last_loss
            self.figures.update(outputs)
