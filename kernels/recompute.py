"""Paddle's DenseNet-121 with less kept for the backward pass: a part is computed again there.

As in Pleiss et al. 2017 (arXiv 1707.06990): what convolutions return is kept. Concatenation, batch
norm and ReLU, which are most of the memory and little of the work, are done again when a gradient
asks for what they returned. The operators are Paddle's, on any device and in any precision.
"""

import paddle
from paddle.autograd import saved_tensors_hooks
from paddle.nn import functional


def features(network, images):
    """Return the feature maps of a `paddle.vision.models.DenseNet`, after their last ReLU.

    Args:
        network: the DenseNet, in training; its running statistics move on once.
        images: float32 `[N, 3, H, W]`, normalised.

    Returns:
        `[N, 1024, H / 32, W / 32]`.
    """
    x = network.conv1_func._conv(images)
    again = _NormRelu(network.conv1_func._batch_norm, [x])
    y = again.run(x)
    with again.instead_of(y):
        x = network.pool2d_max(y)
    for n, block in enumerate(network.dense_block_func_list):
        x, parts = _dense_block(block, x)
        if n < len(network.transition_func_list):  # none after the last block
            transition = network.transition_func_list[n]
            x = transition.pool2d_avg(_norm_relu_convolve(transition.conv_ac_func, x, parts))
    return _NormRelu(network.batch_norm, parts).run(x)


def _dense_block(block, x):
    """Return what a dense block returns, and the parts that it is a concatenation of."""
    parts = [x]
    for layer in block.dense_layer_func:
        z = _norm_relu_convolve(layer.bn_ac_func1, x, parts)
        parts = [*parts, _norm_relu_convolve(layer.bn_ac_func2, z, [z])]
        x = paddle.concat([x, parts[-1]], axis=1)
    return x, parts


def _norm_relu_convolve(layer, x, parts):
    again = _NormRelu(layer._batch_norm, parts)
    y = again.run(x)
    with again.instead_of(y):
        return layer._conv(y)


class _NormRelu:
    """Batch norm and ReLU of a concatenation, of which only the parts are kept.

    Args:
        norm: the batch norm, which ends with a ReLU.
        parts: tensors `[N, C, H, W]`, what is concatenated.
    """

    def __init__(self, norm, parts):
        self.norm, self.parts = norm, [part.detach() for part in parts]
        self.x = self.y = None  # set from the first gradient that asks until the last

    def run(self, x):
        """Return batch norm and ReLU of x, the concatenation."""
        place = x.data_ptr()

        def pack(tensor):
            if len(tensor.shape) != 4:  # a vector: scale, statistics
                return _keep(tensor)
            return self._input if tensor.data_ptr() == place else self._output

        with saved_tensors_hooks(pack, _unpack):
            return self.norm(x)

    def instead_of(self, y):
        """Return a context in which operators keep this in place of y, which `run` returned."""
        place = y.data_ptr()

        def pack(tensor):
            return self._output if tensor.data_ptr() == place else _keep(tensor)

        return saved_tensors_hooks(pack, _unpack)

    def _input(self):
        self._compute()
        x, self.x, self.y = self.x, None, None  # the batch norm's gradient is the last to ask
        return x

    def _output(self):
        self._compute()
        return self.y.detach()

    def _compute(self):
        if self.y is not None:
            return
        norm, joined = self.norm, len(self.parts) > 1
        # The precision is the parts' own: the backward pass is outside of auto_cast.
        with paddle.no_grad(), paddle.amp.auto_cast(enable=False):
            self.x = paddle.concat(self.parts, axis=1) if joined else self.parts[0].detach()
            statistics = norm._mean, norm._variance
            is_frozen = not norm.training or norm._use_global_stats
            if not is_frozen:  # they have moved on by this batch: it moves others, which go
                statistics = [paddle.zeros_like(each) for each in statistics]
            y = functional.batch_norm(
                self.x,
                *statistics,
                weight=norm.weight,
                bias=norm.bias,
                training=not is_frozen,
                momentum=norm._momentum,
                epsilon=norm._epsilon,
            )
            self.y = functional.relu(y)


def _keep(tensor):
    # Detached: an output that held itself would never be freed. Paddle takes the memory of what it
    # is given, so that each request gets a tensor of its own.
    kept = tensor.detach()
    return kept.detach


def _unpack(function):
    return function()
