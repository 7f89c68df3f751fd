import os
import subprocess
import sys

import numpy as np
import pytest
from helpers.folders import link_films
from helpers.places import ROOT
from helpers.processes import can_run
from PIL import Image

from dataset import CenterCrop, ChestXray14, RandomCropFlip
from films.film_cache import FilmRows
from films.film_loader import FilmLoader
from films.film_paths import find_films, list_films
from films.film_pixels import read_film
from films.label_lists import CLASS_NAMES, read_label_list
from runtime.files import UserError

FLAGS = "0 1 0 0 0 0 0 0 0 0 0 0 0 1"


def pil_pixels(path, side=256):
    """What the reference does: uint8 [H, W, 3]."""
    image = Image.open(path).convert("RGB")
    return np.asarray(image.resize((side, side), Image.BILINEAR))


def write_list(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_class_names_are_the_14_in_the_order_of_the_lists():
    assert len(CLASS_NAMES) == 14
    assert CLASS_NAMES[0] == "Atelectasis" and CLASS_NAMES[-1] == "Hernia"


@pytest.mark.parametrize(
    "text",
    [
        f"a.png {FLAGS}\nb.png {FLAGS}\n",
        f"a.png {FLAGS}\nb.png {FLAGS}",  # the val and test lists have no final newline
        f"\ufeffa.png {FLAGS}\r\nb.png {FLAGS}\r\n",  # saved by a Windows editor
    ],
)
def test_a_label_list_is_names_and_flags(tmp_path, text):
    names, labels = read_label_list(write_list(tmp_path / "list.txt", text))
    assert names == ["a.png", "b.png"]
    assert labels.dtype == np.uint8 and labels.shape == (2, 14)
    assert labels.sum(axis=0).tolist() == [0, 2] + 11 * [0] + [2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"a.png {FLAGS}\nb.png 0 1 0\n", ":2: want a file name and 14 flags of 0 or 1"),
        (f"a.png {FLAGS[:-1]}2\n", ":1: want a file name and 14 flags of 0 or 1"),
        (f"a.png {FLAGS}\n\nb.png {FLAGS}\n", ":2: want a file name and 14 flags"),
        (f"../a.png {FLAGS}\n", ":1: want the bare name of a film"),
        (f"/etc/a.png {FLAGS}\n", ":1: want the bare name of a film"),
        (f"a\0.png {FLAGS}\n", ":1: want the bare name of a film"),
        (f"a.png {FLAGS}\na.png {FLAGS}\n", ":2: want each film once, got a.png again"),
        ("", "want a line for each film, got an empty file"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_bad_list_is_an_error_with_its_line(tmp_path, text, message):
    path = write_list(tmp_path / "list.txt", text)
    with pytest.raises(UserError) as caught:
        read_label_list(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_the_real_lists_have_the_known_counts(shared):
    counts = {"train": (78_468, 21_528), "val": (11_219, 3_090), "test": (22_433, 6_187)}
    for split, (images, patients) in counts.items():
        names, labels = read_label_list(shared / "labels" / f"{split}_list.txt")
        assert (len(names), len({name[:8] for name in names})) == (images, patients)
        assert labels.shape == (images, 14)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1"])
def test_pixels_are_pil_s_in_every_mode(tmp_path, mode):
    grey = np.random.default_rng(0).integers(0, 256, (1024, 1024), np.uint8)
    path = tmp_path / "film.png"
    Image.fromarray(grey).convert(mode).save(path)
    film = read_film(path)
    assert film.shape == (1, 256, 256) and film.dtype == np.uint8
    for channel in range(3):
        np.testing.assert_array_equal(film[0], pil_pixels(path)[:, :, channel])


def test_pixels_of_real_films_are_pil_s(shared):
    paths = sorted((shared / "sample" / "images").iterdir())
    assert {Image.open(path).mode for path in paths} == {"L", "RGBA"}
    for path in paths:
        np.testing.assert_array_equal(read_film(path)[0], pil_pixels(path)[:, :, 0])


@pytest.mark.parametrize(("size", "shape"), [((512, 700), (350, 256)), ((700, 512), (256, 350))])
def test_a_film_that_is_not_square_is_resized_by_its_short_side(tmp_path, size, shape):
    path = tmp_path / "film.png"
    Image.new("L", size).save(path)
    assert read_film(path).shape == (1, *shape)


def test_jpeg_films_are_read(tmp_path):
    Image.new("L", (300, 300), 77).save(tmp_path / "film.jpg")
    assert (read_film(tmp_path / "film.jpg") == 77).all()


def save_broken(path, kind):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))
    if kind == "colour":
        image = Image.new("RGB", (64, 64), (200, 10, 10))
    if kind == "32-bit":
        image = Image.fromarray(np.full((64, 64), 40_000, np.int32))
    image.save(path, format={"gif": "GIF", "32-bit": "TIFF"}.get(kind, "PNG"))
    if kind == "empty":
        path.write_bytes(b"")
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-900])
    if kind == "text":
        path.write_text("<html>404</html>")


def test_what_is_no_film_at_all_gets_its_own_remedy(tmp_path):
    with pytest.raises(UserError, match="got a folder; give the files in it"):
        read_film(tmp_path)
    Image.new("L", (64, 64)).save(tmp_path / "film.bmp")
    with pytest.raises(UserError, match=r"film\.bmp: .* convert it to PNG"):
        read_film(tmp_path / "film.bmp")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("empty", "does not decode"),
        ("truncated", "does not decode"),
        ("text", "this is a web page, not the file"),
        ("gif", "does not decode"),
        ("colour", "want a grey film"),
        ("32-bit", "want 8 or 16 bits"),
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_film_is_named_by_the_loader(tmp_path, phantoms, kind, message, workers):
    folder = link_films(phantoms, tmp_path / "data")
    test_list = folder / "labels" / "test_list.txt"
    path = folder / "images" / read_label_list(test_list)[0][5]
    path.unlink()
    save_broken(path, kind)
    loader = FilmLoader(ChestXray14(folder, test_list), batch_size=2, num_workers=workers)
    with pytest.raises(UserError) as caught:
        list(loader)
    assert str(path) in str(caught.value) and message in str(caught.value)


@pytest.mark.parametrize("layout", ["images", "images_002/images", "images/images_002", "."])
def test_films_are_found_in_every_layout(tmp_path, layout):
    (tmp_path / "images_001" / "images").mkdir(parents=True)
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    (tmp_path / "images_001" / "images" / "a.png").touch()
    (tmp_path / layout / "b.png").touch()
    (tmp_path / "images_003.tmp" / "images").mkdir(parents=True)
    (tmp_path / "images_003.tmp" / "images" / "half.png").touch()  # being unpacked
    assert "half.png" not in list_films(tmp_path)
    paths = find_films(tmp_path, ["b.png", "a.png"])
    assert paths[0].endswith("b.png") and (tmp_path / layout / "b.png").samefile(paths[0])


def test_a_missing_film_is_named_and_counted(tmp_path):
    with pytest.raises(UserError, match=r"images/a.png: .* \(2 of 2 listed films are missing\)"):
        find_films(tmp_path, ["a.png", "b.png"])


def test_center_crop_cuts_where_torchvision_does():
    film = np.arange(256 * 256, dtype=np.uint32).reshape(1, 256, 256)
    crop = CenterCrop(224)(film, None)
    assert crop.shape == (1, 224, 224) and crop[0, 0, 0] == 16 * 256 + 16
    # 5 from 8: (8 - 5) / 2 = 1.5, which Python rounds to the even 2, as torchvision does.
    assert CenterCrop(5)(np.arange(64).reshape(1, 8, 8), None)[0, 0, 0] == 2 * 8 + 2


def test_random_crop_flip_reaches_all_places_and_both_mirror_images():
    film = np.arange(36, dtype=np.uint8).reshape(1, 6, 6)
    seen = set()
    for seed in range(400):
        crop = RandomCropFlip(4)(film, np.random.default_rng(seed).random(3))
        mirrored = crop[0, 0, 0] > crop[0, 0, 1]
        upright = crop[:, :, ::-1] if mirrored else crop
        top, left = divmod(int(upright[0, 0, 0]), 6)
        np.testing.assert_array_equal(upright, film[:, top : top + 4, left : left + 4])
        seen.add((top, left, bool(mirrored)))
    assert len(seen) == 3 * 3 * 2


def test_random_transforms_depend_on_seed_epoch_and_film_alone(phantoms):
    def films(seed, epoch, workers):
        train_list = phantoms / "labels" / "train_list.txt"
        dataset = ChestXray14(phantoms, train_list, RandomCropFlip(224), seed=seed)
        dataset.epoch = epoch
        batches = FilmLoader(dataset, batch_size=5, num_workers=workers)
        return np.concatenate([films.numpy() for films, _ in batches])

    once = films(0, 0, workers=0)
    np.testing.assert_array_equal(once, films(0, 0, workers=2))
    assert (once != films(0, 1, workers=0)).any()
    assert (once != films(1, 0, workers=0)).any()


def test_the_phantom_lists_are_patient_disjoint_and_films_real(phantoms):
    patients, modes = [], set()
    for split in ("train", "val", "test"):
        names, _ = read_label_list(phantoms / "labels" / f"{split}_list.txt")
        patients.append({name[:8] for name in names})
        for path in find_films(phantoms, names):
            image = Image.open(path)
            assert image.size == (1024, 1024)
            modes.add(image.mode)
    assert not patients[0] & patients[1] and not patients[0] & patients[2]
    assert not patients[1] & patients[2]
    assert modes == {"L", "RGBA"}


@pytest.mark.parametrize(("megabytes", "ranks"), [(1, 1), (8, 1), (8, 2)])
def test_a_small_dev_shm_is_noticed_and_the_films_come_all_the_same(phantoms, megabytes, ranks):
    """In a mount namespace of its own with a small /dev/shm, where Paddle would die of SIGBUS."""
    code = (
        "import sys, runtime.environment, dataset\nfrom films import film_loader as loader\n"
        f"films = dataset.ChestXray14({str(phantoms)!r}, {str(phantoms)!r} + sys.argv[1])\n"
        "print(sum(len(b) for b, _ in loader.FilmLoader(films, batch_size=12, num_workers=2)))"
    )
    script = f"mount -t tmpfs -o size={megabytes}m tmpfs /dev/shm || exit 77; "
    script += f'PADDLE_LOCAL_SIZE={ranks} exec "$0" -c "$1" "$2"'
    command = ["unshare", "-m", "sh", "-c", script, sys.executable, code, "/labels/train_list.txt"]
    if not can_run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/dev/shm"]):
        pytest.skip("cannot make a mount namespace here (needs root)")
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["24"]
    share = round(megabytes * 2**20 / 1e6 / ranks)
    note = f"note: /dev/shm has {share} MB free and the loader wants 5: films come through pipes"
    assert (note in result.stderr) == (share < 5), result.stderr


def test_rows_are_read_from_a_file_and_an_incomplete_one_is_refused(tmp_path, monkeypatch):
    films = np.random.default_rng(0).integers(0, 256, (5, 32, 32), np.uint8)
    path = tmp_path / "films.npy"
    np.save(path, films)
    rows = FilmRows(path)
    np.testing.assert_array_equal(rows[np.int64(3)], films[3])
    monkeypatch.delattr(os, "pread")  # as on Windows
    np.testing.assert_array_equal([rows[n] for n in (4, 0)], films[[4, 0]])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="does not hold 5 films"):
        FilmRows(path)


MEMORY = """
import re, sys
from dataset import ChestXray14
from films.film_cache import write_cache

def memory(key):  # MiB
    return int(re.search(rf"{key}:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024

data, label_list = sys.argv[1:]
films = ChestXray14(data, label_list)
before = memory("VmHWM")
write_cache(data, dict(zip(films.names, films.paths)), 256, 2)
print(memory("VmHWM") - before)
films, before = ChestXray14(data, label_list), memory("VmRSS")
assert "not used" not in films.source
for n in range(len(films)):
    films[n][0].max()
print(memory("VmRSS") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="memory is read from /proc")
def test_the_cache_is_not_counted_as_memory_of_those_who_write_or_read_it(tmp_path):
    (tmp_path / "images").mkdir()
    film = tmp_path / "film.png"
    Image.new("L", (64, 64), 100).save(film)
    names = [f"{n:08d}_000.png" for n in range(1600)]
    for name in names:
        os.link(film, tmp_path / "images" / name)
    (tmp_path / "list.txt").write_text("\n".join(f"{name} {FLAGS}" for name in names))
    command = [sys.executable, "-c", MEMORY, tmp_path, tmp_path / "list.txt"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    writing, reading = map(int, result.stdout.split()[-2:])
    # 1,600 films of 64 KiB are 100 MiB: what a memory map adds to either.
    assert writing < 50 and reading < 50


class Turned(RandomCropFlip):
    """The worked example of CONTRIBUTING.md: a rotation before the crop, from a fourth number."""

    draws = 4

    def __call__(self, film, draws):
        turned = Image.fromarray(film[0]).rotate(14 * draws[3] - 7, Image.Resampling.BILINEAR)
        return super().__call__(np.asarray(turned)[np.newaxis], draws)


def test_a_transform_gets_as_many_numbers_as_it_says(phantoms):
    train_list = str(phantoms / "labels" / "train_list.txt")
    dataset = ChestXray14(phantoms, train_list, Turned(64), 72)
    film, _ = dataset[3]
    assert film.shape == (1, 64, 64) and film.dtype == np.uint8
    np.testing.assert_array_equal(dataset[3][0], film)  # the same each time
    dataset.epoch = 1
    assert (dataset[3][0] != film).any()
    seen = []
    for transform in (CenterCrop(64), lambda film, draws: film, Turned(64), RandomCropFlip(64)):
        dataset = ChestXray14(phantoms, train_list, transform, 72)
        dataset.transform = lambda film, draws: seen.append(draws) or film
        dataset[3]
    assert [len(draws) for draws in seen] == [0, 0, 4, 3]
    assert all(((draws >= 0) & (draws < 1)).all() for draws in seen)
