"""DenseNet-121 on PyTorch's tensors: what a checkpoint predicts where torch reads it."""

from weights.torch_names import BLOCKS


def forward(state, images):
    """Compute DenseNet-121 with sigmoids (Huang et al. 2017) on torchvision's tensors.

    Args:
        state: dict from torchvision's name to tensor.
        images: float32 `[K, 3, H, W]`.

    Returns:
        float32 `[K, C]`.
    """
    import torch
    from torch.nn import functional

    def norm_relu(x, name):
        fields = (state[f"{name}.{f}"] for f in ("running_mean", "running_var", "weight", "bias"))
        return functional.batch_norm(x, *fields, eps=1e-5).relu()

    x = functional.conv2d(images, state["features.conv0.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm_relu(x, "features.norm0"), 3, stride=2, padding=1)
    for block, layers in enumerate(BLOCKS, 1):
        for layer in range(1, layers + 1):
            place = f"features.denseblock{block}.denselayer{layer}"
            new = functional.conv2d(norm_relu(x, f"{place}.norm1"), state[f"{place}.conv1.weight"])
            new = norm_relu(new, f"{place}.norm2")
            new = functional.conv2d(new, state[f"{place}.conv2.weight"], padding=1)
            x = torch.cat([x, new], 1)
        if block < len(BLOCKS):
            place = f"features.transition{block}"
            x = functional.conv2d(norm_relu(x, f"{place}.norm"), state[f"{place}.conv.weight"])
            x = functional.avg_pool2d(x, 2)
    x = norm_relu(x, "features.norm5").mean((2, 3))
    return functional.linear(x, state["classifier.0.weight"], state["classifier.0.bias"]).sigmoid()
