"""Hostile and broken files through the command line: nothing runs, one `error:` line names it."""

import json
import os
import pickle
import struct
import subprocess
import zlib

import numpy as np
import pytest
from helpers.folders import link_films, tree
from PIL import Image

from films.film_pixels import read_film
from films.label_lists import read_label_list
from runtime.files import UserError
from weights.torch_checkpoint import load_torch
from weights.untrusted_files import read_pickle, read_safetensors

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64, "--batch-size", 4]


class Attack:
    """A pickle of it would make the reader touch a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture
def attack(tmp_path):
    """A hostile pickle, and a check that it has not run."""
    marker = tmp_path / "it-ran"
    yield pickle.dumps({"densenet121.out.0.weight": Attack(marker)}, protocol=2)
    assert not marker.exists()


@pytest.fixture
def data(phantoms, tmp_path):
    return link_films(phantoms, tmp_path / "data")


def test_weights_that_run_code(fails, data, attack, tmp_path):
    path = tmp_path / "w.pdparams"
    path.write_bytes(attack)
    for name in ("eval.py", "train.py"):
        words = ["--data-dir", data, "--weights", path, *SMALL]
        words += ["--save-dir", tmp_path / "save"] * (name == "train.py")
        error = fails(name, *words)
        assert str(path) in error and "posix.system" in error
    assert not (tmp_path / "save").exists()


@pytest.fixture(scope="module")
def stopped_run(forked, phantoms, once):
    """The folder of a run of one epoch."""

    def train(folder):
        assert forked("train.py", *train_words(phantoms, folder / "save")).returncode == 0

    return once("stopped_run", train) / "save"


def train_words(data, save, epochs=1):
    words = ["--data-dir", data, "--save-dir", save, "--log-dir", save.parent / "logs"]
    return [*words, *SMALL, "--pretrained", "none", "--epochs", epochs]


@pytest.mark.parametrize("name", ["weights.pdparams", "optimizer.pdopt", "run.pdstate"])
@pytest.mark.parametrize("kind", ["attack", "other", "truncated"])
def test_a_checkpoint_with_a_bad_file(fails, phantoms, stopped_run, attack, tmp_path, name, kind):
    save = tmp_path / "save"
    subprocess.run(["cp", "-r", stopped_run, save], check=True)
    path = save / "epoch_1" / name
    content = {
        "attack": attack,
        "other": pickle.dumps({"a": np.zeros(3)}),
        "truncated": path.read_bytes()[:-100],
    }[kind]
    path.write_bytes(content)
    before = tree(save)
    error = fails("train.py", *train_words(phantoms, save, epochs=2), "--resume")
    assert str(path) in error
    assert tree(save) == before


def lying_safetensors():
    """Headers that promise what is not there: (name, bytes)."""
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

    def file(header, data=b"\0" * 8, length=None):
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + data

    return {
        "past the end": file({"a": {**tensor, "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}),
        "overlapping": file({"a": tensor, "b": {**tensor, "data_offsets": [4, 8]}}),
        "huge header": file({"a": tensor}, length=1 << 62),
        "shape unlike size": file({"a": {**tensor, "shape": [3]}}),
        "negative": file({"a": {**tensor, "shape": [-2]}}),
        "not json": struct.pack("<Q", 4) + b"{{{{",
        "other dtype": file({"a": {**tensor, "dtype": "BF16", "shape": [4]}}),
    }


@pytest.mark.parametrize("kind", list(lying_safetensors()))
def test_safetensors_that_lie(tmp_path, kind):
    path = tmp_path / "w.safetensors"
    path.write_bytes(lying_safetensors()[kind])
    # NumPy has no bfloat16; to PyTorch it is no lie.
    for read in (read_safetensors, *[load_torch] * (kind != "other dtype")):
        with pytest.raises(UserError, match=r"w\.safetensors: "):
            read(str(path))


def test_a_command_that_is_given_one(fails, data, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(lying_safetensors()["past the end"])
    assert str(path) in fails("eval.py", "--data-dir", data, "--weights", path, *SMALL)
    target = tmp_path / "w.pdparams"
    assert str(path) in fails("convert_torch_weights.py", path, target)
    assert not target.exists()


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a\0b.png", "..", "images/a.png"])
def test_lists_that_point_elsewhere(fails, data, random_weights, name):
    path = data / "labels" / "test_list.txt"
    path.write_text(path.read_text() + f"{name}{' 0' * 14}\n")
    error = fails("eval.py", "--data-dir", data, "--weights", random_weights, *SMALL)
    assert f"{path}:13: want the bare name of a film" in error


def test_a_list_with_a_film_twice(fails, data, random_weights):
    path = data / "labels" / "test_list.txt"
    path.write_text(path.read_text() + path.read_text())
    error = fails("eval.py", "--data-dir", data, "--weights", random_weights, *SMALL)
    assert f"{path}:13: want each film once" in error and "(first on line 1)" in error


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(forked, data, random_weights):
    path = data / "labels" / "test_list.txt"
    before = read_label_list(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    after = read_label_list(path)
    assert after[0] == before[0] and (after[1] == before[1]).all()
    words = ["--data-dir", data, "--weights", random_weights, *SMALL]
    assert forked("eval.py", *words).returncode == 0


def bomb():
    """A PNG of a few hundred bytes that says it is 60,000 x 60,000."""

    def chunk(kind, body):
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + data + chunk(b"IEND", b"")


def broken_film(kind, path):
    grey = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    if kind == "bomb":
        path.write_bytes(bomb())
    elif kind == "32-bit":
        Image.fromarray(grey.astype(np.int32)).save(path, "TIFF")
    elif kind == "1 x 1":
        Image.fromarray(grey[:1, :1]).save(path)
    elif kind == "animated":
        frames = [Image.fromarray(grey), Image.fromarray(255 - grey)]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "colours":
        Image.new("RGB", (64, 64), (200, 10, 10)).save(path)
    else:
        Image.fromarray(grey).save(path)
        path.write_bytes(path.read_bytes()[:1000])


WORDS = {
    "empty": "does not decode",
    "truncated": "does not decode",
    "bomb": "does not decode",
    "32-bit": "want 8 or 16 bits a pixel",
    "1 x 1": "want a film of 32 to 10,000 pixels a side, got 1 x 1",
    "animated": "want one picture, got 2",
    "colours": "want a grey film",
}


@pytest.mark.parametrize("kind", list(WORDS))
def test_films_that_are_not(tmp_path, kind):
    broken_film(kind, tmp_path / "film.png")
    with pytest.raises(UserError, match=f"film.png: .*{WORDS[kind]}"):
        read_film(tmp_path / "film.png")


@pytest.mark.parametrize("kind", ["bomb", "colours"])
def test_a_list_of_films_with_such_a_one(fails, data, random_weights, tmp_path, kind):
    film = data / "images" / (data / "labels" / "test_list.txt").read_text().split()[0]
    film.unlink()
    broken_film(kind, film)
    words = ["--data-dir", data, "--weights", random_weights, *SMALL]
    error = fails("eval.py", *words, "--output-dir", tmp_path / "out")
    assert str(film) in error and WORDS[kind] in error
    assert tree(tmp_path / "out") == []


def test_unusual_films_are_read(forked, data, random_weights):
    """A grey palette and a JPEG behind the name .png: grey films all the same."""
    lines = (data / "labels" / "test_list.txt").read_text().splitlines()
    palette, jpeg = (data / "images" / line.split()[0] for line in lines[:2])
    for film, mode, form in ((palette, "P", "PNG"), (jpeg, "L", "JPEG")):
        grey = Image.open(film).convert("L")
        film.unlink()
        grey.convert(mode).save(film, format=form)
    words = ["--data-dir", data, "--weights", random_weights, *SMALL]
    assert forked("eval.py", *words).returncode == 0


def test_a_film_that_may_not_be_read(fails, data, random_weights, heeding_modes):
    film = data / "images" / (data / "labels" / "test_list.txt").read_text().split()[0]
    content = film.read_bytes()
    film.unlink()
    film.write_bytes(content)
    film.chmod(0)
    words = ["--data-dir", data, "--weights", random_weights, *SMALL]
    error = fails("eval.py", *words, prefix=heeding_modes)
    assert f"{film}: want a film, got permission denied" in error


def test_a_disk_that_fills_while_a_checkpoint_is_written(
    script, fails, phantoms, small_disk, tmp_path
):
    save = small_disk(150) / "save"
    words = [*train_words(phantoms, save, epochs=3), "--log-dir", tmp_path / "logs"]
    error = fails("train.py", *words)
    assert "No space left on device" in error and str(save) in error
    assert not [name for name in tree(save) if ".tmp" in name]
    whole = sorted(path.name for path in save.glob("epoch_*"))
    for name in ("weights.pdparams", "optimizer.pdopt", "run.pdstate"):
        assert read_pickle(save / whole[-1] / name)
    small_disk(900)  # with room again it goes on
    assert script("train.py", *words, "--resume").returncode == 0
    assert (save / "epoch_3").exists()
