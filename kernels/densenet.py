"""Paddle's DenseNet-121 on a CPU, computed by oneDNN: the same parameters and statistics."""

import paddle
from paddle import nn

from kernels import onednn
from kernels.layers import Convolve, DenseBlock, Halve, NormRelu, Stem


def can_run(network, images):
    """Tell whether `features` computes these images, and the gradients that may be asked for.

    They are float32, on a CPU, in dygraph, and all batch norms are in the network's mode. Of
    gradients the kernels know those of training: of all parameters and of no pixels.

    Args:
        network, images: as for `features`.
    """
    if not (
        paddle.in_dynamic_mode()
        and images.dtype == paddle.float32
        and images.place.is_cpu_place()
        and onednn.library() is not None
    ):
        return False
    layers = network.sublayers()
    norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm)]
    if any(norm._use_global_stats or norm.training != network.training for norm in norms):
        return False
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2D)]
    parameters = [layer.weight for layer in (*convolutions, *norms)] + [norm.bias for norm in norms]
    learnt = [not parameter.stop_gradient for parameter in parameters]
    if not paddle.is_grad_enabled() or (images.stop_gradient and not any(learnt)):
        return True
    return network.training and images.stop_gradient and all(learnt)


def features(network, images):
    """Return the feature maps of a `paddle.vision.models.DenseNet`, after their last ReLU.

    Args:
        network: the DenseNet; where it trains, its running statistics move on.
        images: float32 `[N, 3, H, W]`, normalised.

    Returns:
        float32 `[N, 1024, H / 32, W / 32]`.
    """
    convolution, norm = network.conv1_func._conv, network.conv1_func._batch_norm
    x = _with_statistics(Stem, norm, images, convolution.weight, norm.weight, norm.bias)
    for n, block in enumerate(network.dense_block_func_list):
        x = _dense_block(block, x)
        if n < len(network.transition_func_list):
            transition = network.transition_func_list[n].conv_ac_func
            norm = transition._batch_norm
            x = _with_statistics(NormRelu, norm, x, norm.weight, norm.bias)
            # A mean and a 1 x 1 convolution may change places: a quarter of the products.
            x = Convolve.apply(Halve.apply(x), transition._conv.weight)
    norm = network.batch_norm
    x = _with_statistics(NormRelu, norm, x, norm.weight, norm.bias)
    blocks, films, height, width, each = x.shape
    # [C / B, N, H, W, B] -> [N, C, H, W]
    return x.transpose([1, 0, 4, 2, 3]).reshape([films, blocks * each, height, width])


def _with_statistics(operation, norm, *arguments):
    """Apply an operation with one batch norm; move its running statistics on where it trains."""
    if not norm.training:
        return operation.apply(*arguments, norm._epsilon, [(norm._mean, norm._variance)], False)
    found = paddle.empty_like(norm._mean), paddle.empty_like(norm._variance)
    y = operation.apply(*arguments, norm._epsilon, [found], True)
    _move_on(norm, *found)
    return y


def _dense_block(block, x):
    parameters, norms = [], []
    for layer in block.dense_layer_func:
        for part in (layer.bn_ac_func1, layer.bn_ac_func2):
            parameters += [part._batch_norm.weight, part._batch_norm.bias, part._conv.weight]
            norms.append(part._batch_norm)
    first = norms[0]
    pairs = list(zip(norms[::2], norms[1::2], strict=True))
    if not first.training:
        known = [(a._mean, a._variance, b._mean, b._variance) for a, b in pairs]
        return DenseBlock.apply(x, first._epsilon, known, False, *parameters)
    statistics = []
    y = DenseBlock.apply(x, first._epsilon, statistics, True, *parameters)
    for (norm1, norm2), (mean1, variance1, mean2, variance2) in zip(pairs, statistics, strict=True):
        channels = norm1._mean.shape[0]
        _move_on(norm1, mean1[:channels], variance1[:channels])
        _move_on(norm2, mean2, variance2)
    return y


def _move_on(norm, mean, variance):
    """Move running statistics on, as Paddle's batch norm does: it keeps the biased variance."""
    with paddle.no_grad():
        for running, found in ((norm._mean, mean), (norm._variance, variance)):
            running.scale_(norm._momentum)
            running.add_(found * (1 - norm._momentum))
