"""Convolution, batch norm with ReLU and pooling for arrays of one shape, forward and backward.

Activations are float32 `[N, C, H, W]` in blocks of channels: in memory `[N, C / B, H, W, B]`. All
functions take and return tensors, or addresses of their first number.
"""

import ctypes
import functools
import math

import paddle

from kernels import onednn
from kernels.onednn import (
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SOURCE,
    DIFF_TARGET,
    DIFF_WEIGHTS,
    MEAN,
    SCALE,
    SHIFT,
    SOURCE,
    TARGET,
    VARIANCE,
    WEIGHTS,
    WORKSPACE,
    Dims,
    Primitive,
    layout,
)

DIRECT, MAXIMUM, AVERAGE = 1, 0x1FF, 0x2FF  # algorithms
TRAINING, INFERENCE, BACKWARD = 64, 96, 128
STORED_STATISTICS, USE_SCALE, USE_SHIFT, FUSE_RELU = 1, 2, 4, 8


def empty(count):
    """Return a tensor for so many float32 numbers."""
    return paddle.empty([count], "float32")


class Convolution:
    """A convolution without bias.

    Args:
        shape: `(N, C, H, W)` of what goes in.
        weight: `(O, C, K, K)`.
        stride, padding: numbers.
        is_plain: what goes in is not in blocks (and has no gradient), as the pixels are not.
    """

    def __init__(self, shape, weight, stride=1, padding=0, is_plain=False):
        n, _, height, width = shape
        out, _, size, _ = weight
        sides = ((side + 2 * padding - size) // stride + 1 for side in (height, width))
        self.target = (n, out, *sides)
        self._weight = layout(weight, "abcd")  # as Paddle has it
        self._shapes = shape, weight
        borders = Dims(padding, padding)
        self._places = (Dims(stride, stride), Dims(0, 0), borders, borders)
        self._layouts = (
            layout(shape, "abcd" if is_plain else "blocked"),
            layout(weight, "any"),
            layout(self.target, "blocked"),
        )

    @functools.cached_property
    def _forward(self):
        source, weight, target = self._layouts
        arguments = (TRAINING, DIRECT, source, weight, None, target, *self._places)
        return Primitive("convolution_forward", *arguments)

    @functools.cached_property
    def _of_data(self):
        arguments = (DIRECT, *self._layouts, *self._places, self._forward.description)
        return Primitive("convolution_backward_data", *arguments)

    @functools.cached_property
    def _of_weight(self):
        source, weight, target = self._layouts
        places = (*self._places, self._forward.description)
        return Primitive(
            "convolution_backward_weights", DIRECT, source, weight, None, target, *places
        )

    def _arranged(self, weight, primitive):
        """Return a weight in the layout that a primitive has chosen."""
        arranged = empty(primitive.size(WEIGHTS) // 4)
        onednn.copy(weight, self._weight, arranged, primitive.layout(WEIGHTS))
        return arranged

    def forward(self, x, weight):
        """Return the convolution of x."""
        y = empty(math.prod(self.target))
        self._forward({SOURCE: x, WEIGHTS: self._arranged(weight, self._forward), TARGET: y})
        return y

    def gradient_of_data(self, weight, of_y):
        """Return the gradient of x."""
        of_x = empty(math.prod(self._shapes[0]))
        arranged = self._arranged(weight, self._of_data)
        self._of_data({DIFF_TARGET: of_y, WEIGHTS: arranged, DIFF_SOURCE: of_x})
        return of_x

    def gradient_of_weight(self, x, of_y):
        """Return the gradient of the weight, `[O, C, K, K]`."""
        primitive = self._of_weight
        arranged = empty(primitive.size(DIFF_WEIGHTS) // 4)
        primitive({SOURCE: x, DIFF_TARGET: of_y, DIFF_WEIGHTS: arranged})
        of_weight = paddle.empty(self._shapes[1], "float32")
        onednn.copy(arranged, primitive.layout(DIFF_WEIGHTS), of_weight, self._weight)
        return of_weight


class BatchNormRelu:
    """Batch normalisation and ReLU.

    Args:
        shape: `(N, C, H, W)`.
        epsilon: added to the variance.
    """

    def __init__(self, shape, epsilon):
        self._data, self._epsilon = layout(shape, "blocked"), ctypes.c_float(epsilon)
        self._count, self._channels = math.prod(shape), shape[1]
        numbers = (MEAN, VARIANCE, SCALE, SHIFT, DIFF_SCALE, DIFF_SHIFT)
        self._layouts = dict.fromkeys(numbers, layout(shape[1:2], "a"))

    def _made(self, kind, *arguments, flags=0):
        flags |= USE_SCALE | USE_SHIFT | FUSE_RELU
        hint = () if kind == "forward" else (self._train.description,)
        name = f"batch_normalization_{kind}"
        return Primitive(name, *arguments, self._epsilon, flags, *hint, layouts=self._layouts)

    @functools.cached_property
    def _train(self):
        return self._made("forward", TRAINING, self._data, self._data)

    @functools.cached_property
    def _train_by(self):
        return self._made("forward", TRAINING, self._data, self._data, flags=STORED_STATISTICS)

    @functools.cached_property
    def _infer(self):
        return self._made("forward", INFERENCE, self._data, self._data, flags=STORED_STATISTICS)

    @functools.cached_property
    def _backward(self):
        return self._made("backward", BACKWARD, self._data, self._data, self._data)

    def infer(self, x, scale, shift, mean, variance):
        """Return the normalised x after its ReLU, by statistics that are given."""
        y = empty(self._count)
        fields = {MEAN: mean, VARIANCE: variance, SCALE: scale, SHIFT: shift}
        self._infer({SOURCE: x, TARGET: y, **fields})
        return y

    def train(self, x, scale, shift, mean, variance, has_statistics=False):
        """Do so by x's own statistics: mean and biased variance are written, unless they are known.

        Returns:
            y: what `infer` returns.
            passed: where ReLU let values through, for `gradients`.
        """
        primitive = self._train_by if has_statistics else self._train
        y = empty(self._count)
        passed = paddle.empty([primitive.size(WORKSPACE)], "uint8")
        fields = {MEAN: mean, VARIANCE: variance, SCALE: scale, SHIFT: shift, WORKSPACE: passed}
        primitive({SOURCE: x, TARGET: y, **fields})
        return y, passed

    def gradients(self, x, scale, mean, variance, passed, of_y):
        """Return the gradients of scale and shift; that of x takes the place of `of_y`."""
        of_scale, of_shift = empty(self._channels), empty(self._channels)
        fields = {MEAN: mean, VARIANCE: variance, SCALE: scale, WORKSPACE: passed}
        found = {DIFF_SOURCE: of_y, DIFF_SCALE: of_scale, DIFF_SHIFT: of_shift}
        self._backward({SOURCE: x, DIFF_TARGET: of_y, **fields, **found})
        return of_scale, of_shift


class Pool:
    """Pooling of squares of places, every other one.

    Args:
        shape: `(N, C, H, W)`.
        algorithm: `MAXIMUM` or `AVERAGE`.
        side: of a square.
        padding: places beyond the border, which count for nothing.
    """

    def __init__(self, shape, algorithm, side, padding):
        n, c, *sides = shape
        self.target = (n, c, *((length + 2 * padding - side) // 2 + 1 for length in sides))
        self._sizes = math.prod(shape), math.prod(self.target)
        self._keeps_places = algorithm == MAXIMUM
        steps = (Dims(2, 2), Dims(side, side), Dims(0, 0), *[Dims(padding, padding)] * 2)
        arguments = (algorithm, layout(shape, "blocked"), layout(self.target, "blocked"), *steps)
        self._forward = Primitive("pooling_forward", TRAINING, *arguments)
        self._backward = Primitive("pooling_backward", *arguments, self._forward.description)

    def forward(self, x):
        """Return the pooled x; and for a maximum, in which places it was."""
        y, places = empty(self._sizes[1]), None
        if self._keeps_places:
            places = paddle.empty([self._forward.size(WORKSPACE)], "uint8")
        self._forward({SOURCE: x, TARGET: y, **({WORKSPACE: places} if self._keeps_places else {})})
        return y, places

    def gradient(self, places, of_y):
        """Return the gradient of x."""
        of_x = empty(self._sizes[0])
        kept = {WORKSPACE: places} if self._keeps_places else {}
        self._backward({DIFF_TARGET: of_y, DIFF_SOURCE: of_x, **kept})
        return of_x


# Each shape of a network once; a last, smaller batch and another crop have their own.
convolution = functools.lru_cache(maxsize=1024)(Convolution)
batch_norm_relu = functools.lru_cache(maxsize=1024)(BatchNormRelu)
pool = functools.lru_cache(maxsize=64)(Pool)
