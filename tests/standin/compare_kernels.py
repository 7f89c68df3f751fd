"""Print how far the stand-in's kernels are from the CPU's float32.

    python compare_kernels.py TYPE DTYPE

A line for each operator: its name, and the largest difference of output and gradients, each over
the largest value, in units of the type's rounding (2^-11 of float16, 2^-8 of bfloat16).
"""

import sys

from runtime import environment  # noqa: F401  (before Paddle)

# isort: split
import numpy as np
import paddle
import paddle.nn.functional as F

DEVICE, DTYPE = sys.argv[1:]
UNIT = {"float16": 2**-11, "bfloat16": 2**-8}[DTYPE]


def results(device, dtype, function, arrays):
    """Return the output and the gradients of the inputs, as float32 arrays."""
    paddle.set_device(device)
    inputs = [paddle.to_tensor(array).astype(DTYPE).astype(dtype) for array in arrays]
    for tensor in inputs:
        tensor.stop_gradient = False
    out = function(*inputs)
    grad = np.random.default_rng(1).standard_normal(out.shape).astype("float32")
    out.backward(paddle.to_tensor(grad).astype(DTYPE).astype(dtype))
    return [t.astype("float32").numpy() for t in (out, *(tensor.grad for tensor in inputs))]


def compare(name, function, *shapes):
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype("float32") for shape in shapes]
    expected = results("cpu", "float32", function, arrays)
    found = results(DEVICE, DTYPE, function, arrays)
    differences = [
        np.abs(a - b).max() / np.abs(a).max() / UNIT for a, b in zip(expected, found, strict=True)
    ]
    print(f"{name:10}", *(f"{difference:.2f}" for difference in differences))


def batch_norm(training):
    def function(x, scale, bias):
        statistics = paddle.full([5], 0.3), paddle.full([5], 1.5)
        scale, bias = scale.astype("float32"), bias.astype("float32")
        return F.batch_norm(x, *statistics, scale, bias, training=training)

    return function


def main():
    # The shapes of DenseNet-121's kinds of convolution, with edges that no block size divides.
    for size, stride, side in ((7, 2, 33), (3, 1, 9), (1, 1, 5)):
        compare(
            f"conv2d {size}x{size}",
            lambda x, w, stride=stride, size=size: F.conv2d(x, w, None, stride, size // 2),
            *((3, 37, side, side + 2), (13, 37, size, size)),
        )
    compare("max_pool2d", lambda x: F.max_pool2d(x, 3, 2, 1), (2, 3, 17, 18))
    compare("avg_pool2d", lambda x: F.avg_pool2d(x, 2, 2), (2, 3, 16, 18))
    compare("mean of all", lambda x: F.adaptive_avg_pool2d(x, 1), (2, 3, 7, 7))
    compare("relu", F.relu, (2, 3, 7, 7))
    compare("add", lambda x: paddle.concat([x, F.relu(x)], 1), (2, 3, 7, 7))  # of gradients
    compare("concat", lambda *t: paddle.concat(t, 1), *((2, n, 7, 7) for n in (3, 4, 1)))
    for training in (True, False):
        compare("batch_norm", batch_norm(training), (4, 5, 6, 7), (5,), (5,))


if __name__ == "__main__":
    main()
