"""The optimiser, its learning rate, and half precision."""

import paddle

from model import AutoCast


def make_optimizer(network, rate, schedule="step", decay_epochs=(), factor=0.1):
    """Return Adam and the schedule of its learning rate, which `callbacks.EpochSchedule` moves on.

    Args:
        network: the layer to train.
        rate: learning rate at the start.
        schedule: "step", lower at `decay_epochs`; "plateau", as the paper: lower whenever an
            epoch's validation loss is no lower than the lowest before.
        decay_epochs: rising list of epochs; empty: the rate stays.
        factor: of each lowering.

    Returns:
        optimizer, schedule.
    """
    if schedule == "plateau":
        rates = paddle.optimizer.lr.ReduceOnPlateau(rate, factor=factor, patience=0, threshold=0.0)
    elif decay_epochs:
        steps = [rate * factor**n for n in range(len(decay_epochs) + 1)]
        rates = paddle.optimizer.lr.PiecewiseDecay(list(decay_epochs), steps)
    else:
        # PiecewiseDecay fails without a boundary.
        rates = paddle.optimizer.lr.LambdaDecay(rate, lambda epoch: 1.0)
    return paddle.optimizer.Adam(rates, parameters=network.parameters()), rates


def half_precision(network, optimizer, level, dtype):
    """Return network and optimiser as --amp wants them, and a `LossScaler`, or None.

    float16 needs one; bfloat16 has the range to do without.

    Args:
        network: a `CheXNet`.
        optimizer: its optimiser.
        level: "off", "O1" or "O2", Paddle's levels of automatic mixed precision.
        dtype: "float16" or "bfloat16".
    """
    if level == "off":
        return network, optimizer, None
    if level == "O2":
        network, optimizer = paddle.amp.decorate(
            network,
            optimizer,
            level="O2",
            dtype=dtype,
            excluded_layers=[network.densenet121.out],
        )
    return AutoCast(network, dtype, level), optimizer, LossScaler() if dtype == "float16" else None


class LossScaler(paddle.amp.GradScaler):
    """Paddle's loss scaler, which with NumPy 2.4 and later fails at the first overflow.

    It prints the scale by float() of a tensor of shape [1], which NumPy no longer converts.

    Attributes:
        skipped: whether the last step was left out, as a gradient overflowed.
    """

    skipped = False

    def _update(self):
        # Paddle 2.6 spells it so. The optimiser has read it from the device by now.
        found = "_cache_found_inf" if hasattr(self, "_cache_found_inf") else "_cache_founf_inf"
        self.skipped = bool(getattr(self, found))
        if not self.skipped:
            super()._update()
            return
        self._scale = self._scale.reshape([])
        super()._update()
        self._scale = self._scale.reshape([1])


def float32_state(network):
    """Return a network's state dict in float32, whatever precision its weights are in.

    `save_dtype` of `paddle.amp.decorate` is for that, but casts every tensor again for each layer
    that holds it: 131,842 times.
    """
    state = network.state_dict()
    for name, tensor in state.items():
        if tensor.dtype != paddle.float32:
            state[name] = tensor.astype("float32")
            state[name].name = tensor.name
    return state
