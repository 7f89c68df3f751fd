"""oneDNN's kernels against Paddle's own layers and PyTorch's; without the library, Paddle's."""

import os
import subprocess
import sys

import numpy as np
import paddle
import pytest
from helpers.places import ROOT
from paddle.nn import functional

from kernels import densenet, onednn
from kernels.layers import Convolve, Halve, NormRelu, Stem
from kernels.primitives import convolution
from model import CheXNet, LogLoss

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(onednn.library() is None, reason=f"here it is {onednn.describe()}"),
]

LAYERS, GROWTH, MIDDLE = (6, 12, 24, 16), 32, 128  # of DenseNet-121
CLOSE = 2e-5  # of the largest value: sums of up to 1,024 float32 products, in another order


def convolutions(side):
    """Every (channels, side, outputs, kernel, stride, padding) of the network, each once."""
    shapes, channels, side = [(3, side, 64, 7, 2, 3)], 64, side // 4
    for block, layers in enumerate(LAYERS):
        for _ in range(layers):
            shapes.append((channels, side, MIDDLE, 1, 1, 0))
            channels += GROWTH
        shapes.append((MIDDLE, side, GROWTH, 3, 1, 1))
        if block < 3:  # after the pooling
            side //= 2
            shapes.append((channels, side, channels // 2, 1, 1, 0))
            channels //= 2
    return shapes


def close(found, expected):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= CLOSE * max(np.abs(expected).max(), 1e-3)


def into_blocks(x):
    """[N, C, H, W] -> [N, C / B, H, W, B], as numbers in memory."""
    n, c, h, w = x.shape
    blocks = x.reshape(n, c // onednn.block(), onednn.block(), h, w).transpose(0, 1, 3, 4, 2)
    return paddle.to_tensor(np.ascontiguousarray(blocks))


def out_of_blocks(x, shape):
    n, c, h, w = shape
    blocks = x.numpy().reshape(n, c // onednn.block(), h, w, onednn.block())
    return blocks.transpose(0, 1, 4, 2, 3).reshape(shape)


@pytest.mark.parametrize(("side", "films"), [(224, 1), (112, 3), (64, 1)])
def test_every_convolution_of_the_network_is_paddle_s_and_pytorch_s(side, films):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(side)
    for channels, size, out, kernel, stride, padding in convolutions(side):
        shape, weight_shape = (films, channels, size, size), (out, channels, kernel, kernel)
        x = rng.normal(size=shape).astype(np.float32)
        weight = rng.normal(size=weight_shape).astype(np.float32)
        ours = convolution(shape, weight_shape, stride, padding, channels == 3)
        entry = paddle.to_tensor(x) if channels == 3 else into_blocks(x)
        weights = paddle.to_tensor(weight, stop_gradient=False)
        y = out_of_blocks(ours.forward(entry, weights), ours.target)
        of_y = rng.normal(size=y.shape).astype(np.float32)
        of_weight = ours.gradient_of_weight(entry, into_blocks(of_y))

        plain = paddle.to_tensor(x, stop_gradient=False)
        paddle_s = functional.conv2d(plain, weights, stride=stride, padding=padding)
        paddle_s.backward(paddle.to_tensor(of_y))
        x_there = torch.tensor(x, requires_grad=True)
        weight_there = torch.tensor(weight, requires_grad=True)
        torch_s = torch.nn.functional.conv2d(x_there, weight_there, stride=stride, padding=padding)
        torch_s.backward(torch.from_numpy(of_y))
        close(y, paddle_s.numpy())
        close(y, torch_s.detach().numpy())
        close(of_weight.numpy(), weights.grad.numpy())
        close(of_weight.numpy(), weight_there.grad.numpy())
        if channels != 3:  # pixels have no gradient
            of_x = out_of_blocks(ours.gradient_of_data(weights, into_blocks(of_y)), shape)
            close(of_x, plain.grad.numpy())
            close(of_x, x_there.grad.numpy())


def activation(rng, films=2, channels=64, height=6, width=7):
    """An activation as the layers take it, [C / B, N, H, W, B], and as Paddle does."""
    plain = rng.normal(size=(films, channels, height, width)).astype(np.float32)
    shape = (films, channels // onednn.block(), onednn.block(), height, width)
    blocks = np.ascontiguousarray(plain.reshape(shape).transpose(1, 0, 3, 4, 2))
    return (paddle.to_tensor(values, stop_gradient=False) for values in (blocks, plain))


def as_plain(blocks):
    count, films, height, width, each = blocks.shape
    whole = blocks.transpose([1, 0, 4, 2, 3])
    return whole.reshape([films, count * each, height, width]).numpy()


def check(ours, theirs, entries, parameters, rng):
    """Compare what both give and the gradients of entries (ours, theirs) and parameters."""
    close(as_plain(ours), theirs.numpy())
    of_plain = rng.normal(size=theirs.shape).astype(np.float32)
    films, channels, *sides = theirs.shape
    of_blocks = of_plain.reshape(films, channels // onednn.block(), onednn.block(), *sides)
    theirs.backward(paddle.to_tensor(of_plain))
    expected = [each.grad.numpy() for each in parameters]
    for each in parameters:
        each.clear_gradient()
    ours.backward(paddle.to_tensor(np.ascontiguousarray(of_blocks.transpose(1, 0, 3, 4, 2))))
    if entries[0] is not None:
        close(as_plain(entries[0].grad), entries[1].grad.numpy())
    for each, wanted in zip(parameters, expected, strict=True):
        close(each.grad.numpy(), wanted)


def test_normalised_activations_are_paddle_s():
    rng = np.random.default_rng(1)
    blocks, plain = activation(rng)
    norm = paddle.nn.BatchNorm(64, act="relu")
    norm.weight.set_value(rng.normal(size=64).astype(np.float32))
    norm.bias.set_value(rng.normal(size=64).astype(np.float32))
    found = paddle.empty([64]), paddle.empty([64])
    ours = NormRelu.apply(blocks, norm.weight, norm.bias, norm._epsilon, [found], True)
    check(ours, norm(plain), (blocks, plain), [norm.weight, norm.bias], rng)
    close(found[0].numpy(), plain.numpy().mean((0, 2, 3)))
    close(found[1].numpy(), plain.numpy().var((0, 2, 3)))


def test_halved_and_convolved_activations_are_paddle_s():
    rng = np.random.default_rng(2)
    blocks, plain = activation(rng)  # seven columns: the last one is left out
    weight = paddle.to_tensor(rng.normal(size=(32, 64, 1, 1)).astype(np.float32))
    weight.stop_gradient = False
    ours = Convolve.apply(Halve.apply(blocks), weight)
    theirs = functional.avg_pool2d(functional.conv2d(plain, weight), 2)  # in the other order
    check(ours, theirs, (blocks, plain), [weight], rng)


def test_the_stem_is_paddle_s():
    rng = np.random.default_rng(3)
    images = paddle.to_tensor(rng.normal(size=(2, 3, 38, 40)).astype(np.float32))
    layer = paddle.vision.models.densenet121().conv1_func
    parameters = [layer._conv.weight, layer._batch_norm.weight, layer._batch_norm.bias]
    found = paddle.empty([64]), paddle.empty([64])
    ours = Stem.apply(images, *parameters, layer._batch_norm._epsilon, [found], True)
    theirs = functional.max_pool2d(layer(images), 3, 2, 1)
    check(ours, theirs, (None, None), parameters, rng)


def test_a_dense_block_is_paddle_s():
    rng = np.random.default_rng(4)
    network = paddle.vision.models.densenet121()
    block = network.dense_block_func_list[0]
    for parameter in block.parameters():
        if parameter.ndim == 1 and not parameter.stop_gradient:  # so that no two layers are alike
            parameter.set_value((rng.random(parameter.shape) + 0.5).astype(np.float32))
    twin = paddle.vision.models.densenet121().dense_block_func_list[0]
    twin.set_state_dict(block.state_dict())
    blocks, plain = activation(rng, height=12, width=12)
    ours, theirs = densenet._dense_block(block, blocks), twin(plain)
    close(as_plain(ours), theirs.numpy())
    of_plain = rng.normal(size=theirs.shape).astype(np.float32)
    of_blocks = of_plain.reshape(2, -1, onednn.block(), 12, 12).transpose(1, 0, 3, 4, 2)
    theirs.backward(paddle.to_tensor(of_plain))
    ours.backward(paddle.to_tensor(np.ascontiguousarray(of_blocks)))
    # One value in some thousands lies so near to 0 that rounding decides what ReLU lets through.
    for found, wanted in zip(
        [
            as_plain(blocks.grad),
            *(p.grad.numpy() for p in block.parameters() if p.grad is not None),
        ],
        [plain.grad.numpy(), *(p.grad.numpy() for p in twin.parameters() if p.grad is not None)],
        strict=True,
    ):
        assert np.abs(found - wanted).mean() <= 1e-3 * np.abs(wanted).mean()
    for name, wanted in twin.state_dict().items():  # running statistics have moved on alike
        close(block.state_dict()[name].numpy(), wanted.numpy())


@pytest.fixture
def films():
    return paddle.to_tensor(np.random.default_rng(0).integers(0, 256, (3, 1, 64, 64), np.uint8))


def train_step(network, films):
    """Gradients and loss of a step."""
    network.train()
    loss = LogLoss()(network(films), paddle.ones([len(films), 14]))
    loss.backward()
    found = {n: p.grad.numpy() for n, p in network.named_parameters() if p.grad is not None}
    network.clear_gradients()
    return float(loss), found


def without_kernels(monkeypatch):
    monkeypatch.setattr(densenet, "can_run", lambda network, images: False)


def test_a_network_is_paddle_s_in_training_and_evaluation(monkeypatch, films):
    paddle.seed(1)
    network, twin = CheXNet(), CheXNet()
    twin.set_state_dict(network.state_dict())
    loss, gradients = train_step(network, films)
    network.eval()
    with paddle.no_grad():
        probs, maps = network(films).numpy(), network.features(films).numpy()
    without_kernels(monkeypatch)
    wanted, theirs = train_step(twin, films)
    twin.eval()
    with paddle.no_grad():
        assert np.abs(twin(films).numpy() - probs).max() <= 1e-5
        close(maps, twin.features(films).numpy())
    assert abs(loss - wanted) <= 1e-5 and gradients.keys() == theirs.keys()
    assert len(gradients) == 364  # all but the 242 running statistics
    off = [np.abs(gradients[n] - g).max() / max(np.abs(g).max(), 1e-6) for n, g in theirs.items()]
    assert np.median(off) <= 1e-3  # a ReLU at 0 moves whole gradients of its layer
    for name, tensor in twin.state_dict().items():
        close(network.state_dict()[name].numpy(), tensor.numpy())


def test_a_step_has_the_same_bits_each_time(films):
    network = CheXNet()
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    loss, gradients = train_step(network, films)
    network.set_state_dict(start)
    again, the_same = train_step(network, films)
    assert loss == again
    for name, gradient in gradients.items():
        assert np.array_equal(gradient, the_same[name]), name


def test_other_numbers_are_for_paddle_s_own():
    network = CheXNet().densenet121
    network.train()
    assert densenet.can_run(network, paddle.zeros([1, 3, 64, 64]))
    network.eval()
    with paddle.no_grad():
        assert densenet.can_run(network, paddle.zeros([1, 3, 64, 64]))
        assert not densenet.can_run(network, paddle.zeros([1, 3, 64, 64], "float64"))
    for parameter in network.parameters():  # frozen: no gradient is asked for
        parameter.stop_gradient = True
    assert densenet.can_run(network, paddle.zeros([1, 3, 64, 64]))


def in_evaluation(network, images):
    network.eval()


def with_fixed_statistics(network, images):
    for layer in network.sublayers():
        if isinstance(layer, paddle.nn.BatchNorm):
            layer.eval()


def with_stored_statistics(network, images):
    network.densenet121.batch_norm._use_global_stats = True


def with_a_frozen_block(network, images):
    for parameter in network.densenet121.dense_block_func_list[0].parameters():
        parameter.stop_gradient = True


def with_gradients_of_pixels(network, images):
    images.stop_gradient = False


@pytest.mark.parametrize(
    "prepare",
    [
        in_evaluation,
        with_fixed_statistics,
        with_stored_statistics,
        with_a_frozen_block,
        with_gradients_of_pixels,
    ],
)
def test_gradients_that_the_kernels_do_not_know_are_paddle_s(prepare):
    """The kernels have those of training: of all parameters, by the batch's statistics."""
    paddle.seed(2)
    network, images = CheXNet(), paddle.randn([2, 3, 32, 32])
    network.train()
    prepare(network, images)
    backbone = network.densenet121
    sources = [backbone.out[0].weight, backbone.conv1_func._conv.weight]
    sources += [] if images.stop_gradient else [images]
    found, expected = (
        paddle.grad(forward(images).sum(), sources) for forward in (network, backbone)
    )
    for one, other in zip(found, expected, strict=True):
        close(one.numpy(), other.numpy())


GROWTH_CODE = """
from runtime import environment
environment.compute_on_cores()
import numpy as np
import paddle
from model import CheXNet, LogLoss

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

network, sizes = CheXNet(), []
adam = paddle.optimizer.Adam(1e-4, parameters=network.parameters())
films = paddle.zeros([4, 1, 96, 96], "uint8")
for _ in range(12):
    LogLoss()(network(films), paddle.zeros([4, 14])).backward()
    adam.step()
    adam.clear_grad()
    sizes.append(resident())
print(sizes[-1] - sizes[3])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow():
    result = subprocess.run(
        [sys.executable, "-c", GROWTH_CODE], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split()[-1]) < 8  # MiB in eight steps of 25 MiB of activations


SHAPES_CODE = """
from kernels.primitives import Convolution

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

for n in range(4000):
    Convolution((1, 64, 8 + n % 50, 8 + n // 50), (32, 64, 3, 3), 1, 1)._forward
    if n == 2000:
        before = resident()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_primitives_that_nobody_keeps_are_freed():
    result = subprocess.run(
        [sys.executable, "-c", SHAPES_CODE], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout.split()[-1]) < 40  # MiB for 2,000 shapes; 139 where they stay


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("off", "Paddle's own (CHEXNET_ONEDNN=off)"),
        ("/nowhere/libdnnl.so.3", "Paddle's own (Paddle {} brings no oneDNN 3 that can be loaded)"),
        (None, "oneDNN 3."),
    ],
)
def test_without_the_library_paddle_s_own_kernels_compute(
    script, phantoms, tmp_path, library, said
):
    words = [
        "--data-dir",
        phantoms,
        "--save-dir",
        tmp_path / "save",
        "--log-dir",
        tmp_path / "logs",
    ]
    words += ["--pretrained", "none", "--resize", 72, "--crop-size", 64, "--batch-size", 12]
    variables = {**os.environ} | ({} if library is None else {"CHEXNET_ONEDNN": library})
    result = script("train.py", *words, "--epochs", 1, "--decay-epochs", 1, env=variables)
    assert result.returncode == 0, result.stderr
    assert f"the network is computed by {said.format(paddle.__version__)}" in result.stdout
