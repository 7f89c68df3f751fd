"""What the benchmarks compare with, written from the descriptions of how others do it."""

import os
import tempfile

import numpy as np
from PIL import Image

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def resized(path):
    """PIL's way to a 256-pixel RGB film."""
    return Image.open(path).convert("RGB").resize((256, 256), Image.BILINEAR)


def ten_crops(image, size=224):
    """torchvision's TenCrop on a PIL image."""
    far = image.width - size
    corners = [(0, 0), (far, 0), (0, far), (far, far), (round(far / 2), round(far / 2))]
    return [
        view.crop((left, top, left + size, top + size))
        for view in (image, image.transpose(Image.FLIP_LEFT_RIGHT))
        for left, top in corners
    ]


def torch_train_samples(paths):
    """Training samples of torchvision's Compose, one process."""
    import torch

    from benchmarks.torch_densenet import normalized

    torch.set_num_threads(1)
    for _ in range(3):  # the best counts
        yield
        for path in paths:
            left, top = torch.randint(0, 33, (2,)).tolist()
            image = resized(path).crop((left, top, left + 224, top + 224))
            if torch.rand(1) < 0.5:
                image = image.transpose(Image.FLIP_LEFT_RIGHT)
            normalized(image)


def paddle_train_samples(paths):
    """The earlier Paddle port's way: Paddle's transforms in the main process."""
    from paddle.vision import transforms

    compose = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.RandomCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )
    for _ in range(3):
        yield
        for path in paths:
            compose(Image.open(path).convert("RGB"))


def onnx_forward():
    """ONNX Runtime on ten crops, two at a time; the best of eight."""
    import onnxruntime
    import torch

    from benchmarks.torch_densenet import DenseNet121

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count()
    images = np.random.default_rng(0).standard_normal((10, 3, 224, 224)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(
            DenseNet121().eval(),
            (torch.from_numpy(images[:2]),),
            path,
            dynamo=False,
            input_names=["images"],
        )
        session = onnxruntime.InferenceSession(path, options)
    for _ in range(8):
        yield
        for start in range(0, len(images), 2):
            session.run(None, {"images": images[start : start + 2]})


def torch_training_step():
    """A step of Adam, eager, on 16 films that are normalised already; the best of four."""
    import torch
    from ours import training_batch

    from benchmarks.torch_densenet import DenseNet121

    pixels, labels = map(torch.from_numpy, training_batch(np.random.default_rng(0)))
    images = pixels.float().expand(-1, 3, -1, -1).contiguous() / 255
    network = DenseNet121().train()
    adam = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(4):
        yield
        adam.zero_grad()
        torch.nn.functional.binary_cross_entropy(network(images), labels).backward()
        adam.step()


def torch_eval(paths):
    """The reference way: ToTensor and Normalize for each crop, two workers, batch 8, eager."""
    import torch

    from benchmarks.torch_densenet import DenseNet121, normalized

    class Films(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return torch.stack([normalized(crop) for crop in ten_crops(resized(paths[index]))])

    net = DenseNet121().eval()
    yield  # built: the clock starts
    with torch.no_grad():
        for crops in torch.utils.data.DataLoader(Films(), batch_size=8, num_workers=2):
            net(crops.flatten(0, 1)).view(-1, 10, 14).mean(1)


def paddle_eval(paths):
    """The earlier Paddle port's way: transforms for each crop in the main process, dygraph."""
    import paddle
    from paddle.vision import transforms

    from model import CheXNet

    net = CheXNet()
    net.eval()
    resize, to_tensor = transforms.Resize(256), transforms.ToTensor()
    normalize = transforms.Normalize(MEAN, STD)
    yield
    with paddle.no_grad():
        for start in range(0, len(paths), 8):
            crops = []
            for path in paths[start : start + 8]:
                image = resize(Image.open(path).convert("RGB"))
                crops += [normalize(to_tensor(crop)) for crop in ten_crops(image)]
            net(paddle.stack(crops)).reshape([-1, 10, 14]).mean(1)
