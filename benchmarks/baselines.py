"""What the benchmarks compare with, written from the descriptions of how others do it."""

import os
import tempfile

import numpy as np
from PIL import Image

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


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


def torch_films(paths, transform):
    """A torch data set of transformed films."""
    import torch

    class Films(torch.utils.data.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            return transform(resized(paths[index]))

    return Films()


def torch_tensor(image):
    """torchvision's ToTensor and Normalize: float32 `[3, H, W]`."""
    import torch

    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div(255)
    return (tensor - torch.from_numpy(MEAN)[:, None, None]) / torch.from_numpy(STD)[:, None, None]


def torch_train_sample(path):
    """One training sample as torchvision's Compose makes it."""
    import torch

    image = resized(path)
    left, top = torch.randint(0, 33, (2,)).tolist()
    image = image.crop((left, top, left + 224, top + 224))
    if torch.rand(1) < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    return torch_tensor(image)


def torch_train_samples(paths):
    """Training samples of torchvision's Compose, one process."""
    import torch

    torch.set_num_threads(1)
    for _ in range(3):  # the best counts
        yield
        for path in paths:
            torch_train_sample(path)


def paddle_train_samples(paths):
    """The earlier Paddle port's way: Paddle's transforms in the main process."""
    from paddle.vision import transforms

    compose = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.RandomCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN.tolist(), STD.tolist()),
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


def torch_eval(paths):
    """The reference way: ToTensor and Normalize for each crop, two workers, batch 8, eager."""
    import torch

    from benchmarks.torch_densenet import DenseNet121

    net = DenseNet121().eval()

    def transform(image):
        return torch.stack([torch_tensor(crop) for crop in ten_crops(image)])

    yield  # built: the clock starts
    loader = torch.utils.data.DataLoader(torch_films(paths, transform), batch_size=8, num_workers=2)
    with torch.no_grad():
        for crops in loader:
            net(crops.flatten(0, 1)).view(-1, 10, 14).mean(1)


def paddle_eval(paths):
    """The earlier Paddle port's way: transforms for each crop in the main process, dygraph."""
    import paddle
    from paddle.vision import transforms

    from model import CheXNet

    net = CheXNet()
    net.eval()
    resize, to_tensor = transforms.Resize(256), transforms.ToTensor()
    normalize = transforms.Normalize(MEAN.tolist(), STD.tolist())
    yield
    with paddle.no_grad():
        for start in range(0, len(paths), 8):
            crops = []
            for path in paths[start : start + 8]:
                image = resize(Image.open(path).convert("RGB"))
                crops += [normalize(to_tensor(crop)) for crop in ten_crops(image)]
            net(paddle.stack(crops)).reshape([-1, 10, 14]).mean(1)
