"""The parts of a DenseNet as operations of Paddle's autograd, computed by oneDNN.

Between them an activation `[N, C, H, W]` is a tensor `[C / B, N, H, W, B]`: B channels together,
and blocks of channels before films. The first channels of it are the first numbers in memory, so
that a dense block's layers read their inputs where they are, and 1 x 1 convolutions and batch norms
see one film of `N * H` rows. The 3 x 3 convolutions need films first: their inputs are copied.
"""

import ctypes

import paddle
from paddle.autograd import PyLayer

from kernels import onednn
from kernels.onednn import layout
from kernels.primitives import AVERAGE, MAXIMUM, batch_norm_relu, convolution, empty, pool


def _whole(tensor):
    return tensor if tensor.is_contiguous() else tensor.contiguous()


def shape_of(x):
    """Return `(N, C, H, W)` of an activation."""
    blocks, n, h, w, each = x.shape
    return n, blocks * each, h, w


def _stored(shape):
    n, c, h, w = shape
    return [c // onednn.block(), n, h, w, onednn.block()]


def as_one(shape):
    """Return the shape of a batch as one film, its films one below the other."""
    n, c, h, w = shape
    return 1, c, n * h, w


def films_first(shape):
    return layout(shape, "blocked")


def blocks_first(shape):
    return layout(shape, f"Bacd{onednn.block()}b")


def _copied(source, have, wanted, count):
    target = empty(count)
    onednn.copy(source, have, target, wanted)
    return target


def to_films_first(x, shape):
    """Return an activation in the order that convolutions with a border need."""
    return _copied(x, blocks_first(shape), films_first(shape), size_of(shape))


def to_blocks_first(x, shape):
    """Return it in the order that this module's activations have, a tensor without a shape."""
    return _copied(x, films_first(shape), blocks_first(shape), size_of(shape))


def size_of(shape):
    n, c, h, w = shape
    return n * c * h * w


class Stem(PyLayer):
    """The first convolution, batch norm, ReLU and pooling, of images `[N, 3, H, W]`."""

    @staticmethod
    def forward(ctx, images, weight, scale, shift, epsilon, statistics, is_training):
        images = _whole(images)
        first = convolution(tuple(images.shape), tuple(weight.shape), 2, 3, True)
        norm, largest = batch_norm_relu(first.target, epsilon), pool(first.target, MAXIMUM, 3, 1)
        x = first.forward(images, weight)
        ((mean, variance),) = statistics  # in a list: PyLayer wants gradients of bare tensors
        if is_training:
            y, passed = norm.train(x, scale, shift, mean, variance)
        else:
            y = norm.infer(x, scale, shift, mean, variance)
        z, places = largest.forward(y)
        if is_training:
            ctx.parts = first, norm, largest
            ctx.save_for_backward(images, scale, mean, variance, x, passed, places)
        return to_blocks_first(z, largest.target).reshape(_stored(largest.target))

    @staticmethod
    def backward(ctx, of_z):
        first, norm, largest = ctx.parts
        images, scale, mean, variance, x, passed, places = ctx.saved_tensor()
        of_y = largest.gradient(places, to_films_first(_whole(of_z), largest.target))
        of_scale, of_shift = norm.gradients(x, scale, mean, variance, passed, of_y)
        return None, first.gradient_of_weight(images, of_y), of_scale, of_shift


class NormRelu(PyLayer):
    """Batch norm and ReLU of an activation."""

    @staticmethod
    def forward(ctx, x, scale, shift, epsilon, statistics, is_training):
        x, norm = _whole(x), batch_norm_relu(as_one(shape_of(x)), epsilon)
        ((mean, variance),) = statistics  # in a list: PyLayer wants gradients of bare tensors
        if not is_training:
            return norm.infer(x, scale, shift, mean, variance).reshape(x.shape)
        y, passed = norm.train(x, scale, shift, mean, variance)
        ctx.norm = norm
        ctx.save_for_backward(x, scale, mean, variance, passed)
        return y.reshape(x.shape)

    @staticmethod
    def backward(ctx, of_y):
        x, scale, mean, variance, passed = ctx.saved_tensor()
        of_x = of_y.clone()  # its place is taken, and Paddle may still need it
        of_scale, of_shift = ctx.norm.gradients(x, scale, mean, variance, passed, of_x)
        return of_x, of_scale, of_shift


class Convolve(PyLayer):
    """A 1 x 1 convolution of an activation."""

    @staticmethod
    def forward(ctx, x, weight):
        x, shape = _whole(x), shape_of(x)
        ctx.convolution = convolution(as_one(shape), tuple(weight.shape))
        ctx.save_for_backward(x, weight)
        target = _stored((shape[0], weight.shape[0], *shape[2:]))
        return ctx.convolution.forward(x, weight).reshape(target)

    @staticmethod
    def backward(ctx, of_y):
        x, weight = ctx.saved_tensor()
        of_y = _whole(of_y)
        of_x = ctx.convolution.gradient_of_data(weight, of_y).reshape(x.shape)
        return of_x, ctx.convolution.gradient_of_weight(x, of_y)


class Halve(PyLayer):
    """The mean of each 2 x 2 places; an odd border is left out, as Paddle's pooling does."""

    @staticmethod
    def forward(ctx, x):
        blocks, n, height, width, each = x.shape
        ctx.pool = pool((blocks * n, each, height, width), AVERAGE, 2, 0)
        ctx.shape = x.shape
        return ctx.pool.forward(_whole(x))[0].reshape([blocks, n, height // 2, width // 2, each])

    @staticmethod
    def backward(ctx, of_y):
        return ctx.pool.gradient(None, _whole(of_y)).reshape(ctx.shape)


class DenseBlock(PyLayer):
    """The layers of a dense block, each on what all before it gave.

    Kept for the gradients are the block's output, where each layer finds its input, and what the
    second batch norms take; what the convolutions take is computed again.
    """

    @staticmethod
    def forward(ctx, x, epsilon, statistics, is_training, *parameters):
        """Return the activations of x and of all layers, one behind the other.

        Args:
            x: an activation.
            epsilon: of the batch norms.
            statistics: a list; for each layer mean and variance of both batch norms, four tensors.
                Where it trains, it is filled with those of the batch.
            is_training: normalise by the batch's statistics, and keep what gradients need.
            parameters: for each layer scale, shift and weight, twice.
        """
        layers = [parameters[n : n + 6] for n in range(0, len(parameters), 6)]
        block = _Block(shape_of(x), len(layers), layers[0], epsilon)
        if not is_training:
            return block.infer(_whole(x), layers, statistics)
        y, ctx.kept = block.train(_whole(x), layers, statistics)
        ctx.block, ctx.statistics = block, statistics
        ctx.save_for_backward(y, *parameters)
        return y

    @staticmethod
    def backward(ctx, of_y):
        y, *parameters = ctx.saved_tensor()
        layers = [parameters[n : n + 6] for n in range(0, len(parameters), 6)]
        # A copy: it is added to, and Paddle may still need it.
        return ctx.block.gradients(y, of_y.clone(), layers, ctx.statistics, ctx.kept)


class _Block:
    """A dense block for inputs of one shape: its primitives, and where its arrays begin."""

    def __init__(self, shape, count, layer, epsilon):
        self.shape, self.count, self.epsilon = shape, count, epsilon
        self.middle, self.growth = layer[2].shape[0], layer[5].shape[0]

    def channels(self, n):
        """Return how many channels the n-th layer takes."""
        return self.shape[1] + n * self.growth

    def of(self, channels):
        n, _, height, width = self.shape
        return n, channels, height, width

    def primitives(self, n):
        """Return both batch norms and convolutions of the n-th layer."""
        channels = self.channels(n)
        entry, middle = as_one(self.of(channels)), self.of(self.middle)
        return (
            batch_norm_relu(entry, self.epsilon),
            convolution(entry, (self.middle, channels, 1, 1)),
            batch_norm_relu(middle, self.epsilon),
            convolution(middle, (self.growth, self.middle, 3, 3), 1, 1),
        )

    def begun(self, x):
        """Return a tensor for all activations, which has those of x."""
        y = paddle.empty(_stored(self.of(self.channels(self.count))), "float32")
        ctypes.memmove(y.data_ptr(), x.data_ptr(), 4 * size_of(self.shape))
        return y

    def place(self, y, channels):
        """Return the address of the activations behind so many channels."""
        return y.data_ptr() + 4 * size_of(self.of(channels))

    def append(self, y, n, new):
        """Put what the n-th layer gave, films first, behind its input."""
        shape = self.of(self.growth)
        place = self.place(y, self.channels(n))
        onednn.copy(new, films_first(shape), place, blocks_first(shape))

    def infer(self, x, layers, statistics):
        y = self.begun(x)
        for n, (scale1, shift1, weight1, scale2, shift2, weight2) in enumerate(layers):
            norm1, conv1, norm2, conv2 = self.primitives(n)
            mean1, variance1, mean2, variance2 = statistics[n]
            z = conv1.forward(norm1.infer(y, scale1, shift1, mean1, variance1), weight1)
            z = to_films_first(z, self.of(self.middle))
            z = norm2.infer(z, scale2, shift2, mean2, variance2)
            self.append(y, n, conv2.forward(z, weight2))
        return y

    def measure(self, y, start, count, mean, variance):
        """Write the statistics of some of the channels, which all later layers share."""
        norm = batch_norm_relu(as_one(self.of(count)), self.epsilon)
        unused = paddle.ones([count])
        places = (each.data_ptr() + 4 * start for each in (mean, variance))
        norm.train(self.place(y, start), unused, unused, *places)

    def train(self, x, layers, statistics):
        """Return all activations, and for each layer what gradients need beside them."""
        y, kept = self.begun(x), []
        mean1, variance1 = (empty(self.channels(self.count)) for _ in range(2))
        self.measure(y, 0, self.channels(0), mean1, variance1)
        for n, (scale1, shift1, weight1, scale2, shift2, weight2) in enumerate(layers):
            norm1, conv1, norm2, conv2 = self.primitives(n)
            z, passed1 = norm1.train(y, scale1, shift1, mean1, variance1, has_statistics=True)
            z = to_films_first(conv1.forward(z, weight1), self.of(self.middle))
            mean2, variance2 = empty(self.middle), empty(self.middle)
            normed, passed2 = norm2.train(z, scale2, shift2, mean2, variance2)
            self.append(y, n, conv2.forward(normed, weight2))
            self.measure(y, self.channels(n), self.growth, mean1, variance1)
            statistics.append((mean1, variance1, mean2, variance2))
            kept.append((passed1, z, passed2))
        return y, kept

    def gradients(self, y, of_y, layers, statistics, kept):
        """Return the gradients of x and of all parameters; `of_y` is used up, and `kept` too."""
        found, middle, new = [], self.of(self.middle), self.of(self.growth)
        for n in reversed(range(self.count)):
            scale1, shift1, weight1, scale2, shift2, weight2 = layers[n]
            mean1, variance1, mean2, variance2 = statistics[n]
            passed1, z, passed2 = kept.pop()
            norm1, conv1, norm2, conv2 = self.primitives(n)

            of_new = empty(size_of(new))
            place = self.place(of_y, self.channels(n))
            onednn.copy(place, blocks_first(new), of_new, films_first(new))
            normed = norm2.infer(z, scale2, shift2, mean2, variance2)
            of_weight2 = conv2.gradient_of_weight(normed, of_new)
            of_z = conv2.gradient_of_data(weight2, of_new)
            of_norm2 = norm2.gradients(z, scale2, mean2, variance2, passed2, of_z)

            of_z = to_blocks_first(of_z, middle)
            normed = norm1.infer(y, scale1, shift1, mean1, variance1)
            of_weight1 = conv1.gradient_of_weight(normed, of_z)
            of_entry = conv1.gradient_of_data(weight1, of_z)
            of_norm1 = norm1.gradients(y, scale1, mean1, variance1, passed1, of_entry)
            onednn.add(of_y, of_entry, size_of(self.of(self.channels(n))))
            found = [*of_norm1, of_weight1, *of_norm2, of_weight2, *found]
        blocks = self.shape[1] // onednn.block()
        return of_y[:blocks], *found
