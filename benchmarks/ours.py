"""What the benchmarks time of this project. A task yields where its clock starts."""

import argparse
import importlib
import os
import pathlib
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
FILMS = sorted((SHARED / "sample" / "images").glob("*.png"))  # 1024 x 1024


class Films:
    """The sample's films as dataset.ChestXray14 gives them, without a list."""

    def __getitem__(self, index):
        from films.film_pixels import read_film

        return read_film(FILMS[index]), np.zeros(14, np.float32)

    def __len__(self):
        return len(FILMS)


def evaluation(precision, films=None, batch_size=8):
    """eval.py's way: loader, worker processes, `paddle.Model.evaluate`, predictor."""
    from inference.engine import choose_engine
    from model import CheXNet
    from runtime.devices import set_device

    script = importlib.import_module("eval")
    args = argparse.Namespace(crop_size=224, crops=10, batch_size=batch_size, num_workers=2)
    set_device("auto")
    layer, *_ = choose_engine(CheXNet(), 224, precision)
    yield
    script.predict(layer, Films() if films is None else films, args)


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


def cached_films(folder, count):
    """Make a data folder with a cache of `count` films, the 800 of sample_256 over and over."""
    from dataset import ChestXray14, RandomCropFlip

    films = sorted((SHARED / "sample_256" / "images").glob("*.png"))
    data = pathlib.Path(folder)
    (data / "images").mkdir()
    names = [f"{n:08d}_000.png" for n in range(count)]
    for n, name in enumerate(names):
        os.symlink(films[n % len(films)], data / "images" / name)
    flags = " 0" * 14
    (data / "list.txt").write_text("\n".join(name + flags for name in names))
    write_cache = importlib.import_module("films.film_cache").write_cache
    paths = {name: str(data / "images" / name) for name in names}
    write_cache(folder, paths, 256, os.cpu_count())
    return ChestXray14(folder, str(data / "list.txt"), RandomCropFlip(224))


def cached_samples(count):
    """Cached training samples through paddle.io.DataLoader, batch 128, 2 workers."""
    import paddle

    from films.film_loader import FilmLoader

    with tempfile.TemporaryDirectory() as folder:
        films = cached_films(folder, 12_800)
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
