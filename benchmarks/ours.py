"""What the benchmarks time of this project. A task yields where its clock starts."""

import contextlib
import os
import pathlib
import sys
import tempfile

import numpy as np
from PIL import Image

from runtime import environment  # before Paddle

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FILMS = sorted((SHARED / "sample" / "images").glob("*.png"))  # 1024 x 1024


def evaluation(precision):
    """eval.py's way: loader, worker processes, `paddle.Model.evaluate`, predictor."""
    from dataset import ChestXray14
    from evaluation.network_run import predict
    from films.label_lists import LabelList
    from inference.engine import choose_engine
    from model import CheXNet, TenCrop
    from runtime.devices import set_device

    set_device("auto")
    layer, *_ = choose_engine(CheXNet(), 224, precision)
    names = [path.name for path in FILMS]
    listed = LabelList(names, np.zeros((len(names), 14), np.float32), names)
    yield
    films = ChestXray14(str(SHARED / "sample"), listed)
    predict(TenCrop(layer, 224), films, crops=10, batch_size=8, num_workers=2)


def forward(precision, crops):
    """The predictor on ten crops, so many at a time; the best of eight."""
    import paddle

    from inference.cpu_predictor import CPUPredictor
    from model import CheXNet

    predictor = CPUPredictor(CheXNet(), 224, precision)
    predictor.chunk = crops
    images = paddle.randn([10, 3, 224, 224])
    for _ in range(8):
        yield
        predictor(images)


def training_batch(rng, films=16, side=224):
    """Draw pixels uint8 `[N, 1, H, W]` and labels float32 `[N, 14]` of a training step."""
    pixels = rng.integers(0, 256, (films, 1, side, side), np.uint8)
    return pixels, (rng.random((films, 14)) < 0.1).astype(np.float32)


def training_step(kernels):
    """A step of train.py, float32, on all cores; the best of four. `kernels`: CHEXNET_ONEDNN."""
    os.environ["CHEXNET_ONEDNN"] = kernels
    environment.compute_on_cores()
    import paddle

    from model import CheXNet, LogLoss
    from training.recipe import make_optimizer

    pixels, labels = map(paddle.to_tensor, training_batch(np.random.default_rng(0)))
    network, loss = CheXNet(), LogLoss()
    network.train()
    adam, _ = make_optimizer(network, 1e-3)
    for _ in range(4):
        yield
        loss(network(pixels), labels).backward()
        adam.step()
        adam.clear_grad()


def random_weights(folder):
    """Write the weights of a network that has learnt nothing into a folder; return their path."""
    import paddle

    from model import CheXNet
    from weights.weight_files import save_state

    paddle.seed(0)
    path = os.path.join(folder, "random.pdparams")
    save_state(CheXNet().state_dict(), path)
    return path


def train_samples():
    """Uncached training samples in one process."""
    from dataset import RandomCropFlip
    from films.film_pixels import read_film

    crop, rng = RandomCropFlip(224), np.random.default_rng(0)
    for _ in range(3):  # the best counts
        yield
        for path in FILMS:
            np.ascontiguousarray(crop(read_film(path), rng.random(3)))


def write_films(folder, films, count, side):
    """Make a data folder of `count` films, those of some paths over and over, with their cache."""
    from films.film_cache import write_cache

    data = pathlib.Path(folder)
    (data / "images").mkdir()
    paths = {f"{n:08d}_000.png": data / "images" / f"{n:08d}_000.png" for n in range(count)}
    for n, path in enumerate(paths.values()):
        os.symlink(films[n % len(films)], path)
    (data / "list.txt").write_text("\n".join(name + " 0 1" * 7 for name in paths))
    with contextlib.redirect_stdout(sys.stderr):
        write_cache(folder, {name: str(path) for name, path in paths.items()}, side, os.cpu_count())


def write_noise(folder, count, side):
    """Make such a folder of a hundred films of noise."""
    noise, rng = pathlib.Path(folder, "noise"), np.random.default_rng(0)
    noise.mkdir()
    for n in range(100):
        pixels = rng.integers(0, 256, (side, side), np.uint8)
        Image.fromarray(pixels).save(noise / f"{n}.png")
    write_films(folder, sorted(noise.iterdir()), count, side)


def cached_samples(count):
    """Cached training samples through paddle.io.DataLoader, batch 128, 2 workers."""
    import paddle

    from dataset import ChestXray14, RandomCropFlip
    from films.film_loader import FilmLoader

    with tempfile.TemporaryDirectory() as folder:
        write_films(folder, sorted((SHARED / "sample_256" / "images").glob("*.png")), 12_800, 256)
        films = ChestXray14(folder, os.path.join(folder, "list.txt"), RandomCropFlip(224))
        sampler = paddle.io.BatchSampler(films, shuffle=True, batch_size=128)
        yield
        for _ in range(count // len(films)):
            for _ in FilmLoader(films, batch_sampler=sampler, num_workers=2):
                pass


def _predictions(rows):
    rng = np.random.default_rng(0)
    labels = rng.random((rows, 14)) < 0.08
    return labels, (rng.random(labels.shape) + 0.1 * labels).astype(np.float32)


def auroc(rows=614 * 128):
    """Updates of 128 x 14, with the values after each."""
    from films.label_lists import CLASS_NAMES
    from metrics import AUROC

    labels, scores = _predictions(rows)
    metric = AUROC(CLASS_NAMES)
    yield
    for start in range(0, rows, 128):
        metric.update(scores[start : start + 128], labels[start : start + 128])
        metric.accumulate()


def sorted_auroc(rows=614 * 128):
    """The same by sorting all that was seen after each update."""
    from metrics import auroc

    labels, scores = _predictions(rows)
    yield
    for end in range(128, rows + 1, 128):
        auroc(labels[:end], scores[:end])
