"""The oracle: DenseNet-121 in PyTorch, written from the paper (Huang et al. 2017), with
torchvision's names, and the reference project's way from a film to probabilities."""

import numpy as np
import torch
from PIL import Image
from torch import nn

GROWTH, BOTTLENECK, BLOCKS = 32, 128, (6, 12, 24, 16)


class DenseLayer(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x):
        new = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(new)))], 1)


class Transition(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)
        self.conv = nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x):
        return nn.functional.avg_pool2d(self.conv(torch.relu(self.norm(x))), 2)


class DenseNet121(nn.Module):
    def __init__(self, classes=14):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(64))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, stride=2, padding=1))
        channels = 64
        for b, layers in enumerate(BLOCKS, 1):
            block = nn.Sequential()
            for n in range(1, layers + 1):
                block.add_module(f"denselayer{n}", DenseLayer(channels))
                channels += GROWTH
            self.features.add_module(f"denseblock{b}", block)
            if b < len(BLOCKS):
                self.features.add_module(f"transition{b}", Transition(channels))
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Sequential(nn.Linear(channels, classes), nn.Sigmoid())

    def forward(self, x):
        return self.classifier(torch.relu(self.features(x)).mean((2, 3)))


def lively_densenet(seed=0, classes=14):
    """A DenseNet whose every tensor matters: running statistics and batch norms are not 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = DenseNet121(classes)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if "norm" in name and tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.copy_(noise - 0.5 if name.endswith(("bias", "mean")) else noise + 0.5)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):  # so that films still differ at the far end
                nn.init.kaiming_normal_(module.weight, generator=generator)
    return net


def normalized(pixels):
    """ToTensor and Normalize: uint8 [H, W, 3] -> float32 [3, H, W]."""
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    return (torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float().div(255) - mean) / std


def resized(path, side=256):
    """The reference's pixels: uint8 [H, W, 3]."""
    image = Image.open(path).convert("RGB")
    assert image.width == image.height
    return np.asarray(image.resize((side, side), Image.BILINEAR))


def ten_crops(pixels, size=224):
    """torchvision's TenCrop on a uint8 [H, W, 3] array: ten [size, size, 3]."""
    height, width = pixels.shape[:2]
    middle = round((height - size) / 2), round((width - size) / 2)
    corners = [(0, 0), (0, width - size), (height - size, 0), (height - size, width - size), middle]
    return [
        view[top : top + size, left : left + size]
        for view in (pixels, pixels[:, ::-1])
        for top, left in corners
    ]
