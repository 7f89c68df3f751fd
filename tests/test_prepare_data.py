import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, link_films, tree

from dataset import ChestXray14, RandomCropFlip, read_film
from loader import FilmLoader

CACHE = "cache_256"


@pytest.fixture
def data(phantoms, tmp_path):
    return link_films(phantoms, tmp_path / "data")


def train_films(folder):
    return ChestXray14(folder, folder / "labels" / "train_list.txt", RandomCropFlip(224))


def cached(script, folder, *words):
    result = script("prepare_data.py", "cache", "--data-dir", folder, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_cache_gives_the_same_films_to_the_bit(script, data):
    def batches(dataset):
        return [films.numpy() for films, _ in FilmLoader(dataset, batch_size=7, num_workers=2)]

    before = train_films(data)
    assert "there is none" in before.source
    expected = batches(before)
    assert f"wrote {data / CACHE}: 44 films" in cached(script, data)
    assert tree(data / CACHE) == ["films.npy", "index.json"]
    after = train_films(data)
    assert after.source == f"the cache {data / CACHE}"
    for ours, theirs in zip(batches(after), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "is up to date: 44 films" in cached(script, data)


def test_the_scripts_use_the_cache_and_say_so(script, data, random_weights, tmp_path):
    small = ["--resize", 72, "--crop-size", 64, "--batch-size", 8]
    cached(script, data, "--resize", 72)
    words = ["--data-dir", data, "--weights", random_weights, *small]
    result = script("eval.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"films come from the cache {data / 'cache_72'}" in result.stderr
    words += ["--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs", "--epochs", 1]
    result = script("train.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"films come from the cache {data / 'cache_72'}" in result.stdout


def replace_film(folder):
    film = sorted((folder / "images").iterdir())[0]
    content = film.read_bytes()
    film.unlink()
    film.write_bytes(content)


def older_version(folder):
    path = folder / CACHE / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 0}))


def new_film(folder):
    (film, *_) = sorted((folder / "images").iterdir())
    os.symlink(os.path.realpath(film), folder / "images" / "99999999_000.png")
    path = folder / "labels" / "train_list.txt"
    path.write_text(path.read_text() + "99999999_000.png" + " 0" * 14 + "\n")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replace_film, "has changed since"),
        (older_version, "another version"),
        (new_film, "99999999_000.png is not in it"),
    ],
)
def test_a_cache_that_is_out_of_date_is_noticed_and_made_again(script, data, change, reason):
    cached(script, data)
    change(data)
    dataset = train_films(data)
    assert reason in dataset.source and dataset._rows is None
    assert "wrote" in cached(script, data)
    assert train_films(data).source == f"the cache {data / CACHE}"


def test_a_run_that_was_killed_goes_on_where_it_stood(script, phantoms, tmp_path):
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    films = sorted((phantoms / "images").iterdir())
    for n in range(700):  # 44 films under many names: enough work to be killed at
        os.symlink(films[n % len(films)], data / "images" / f"{n:08d}_000.png")
    command = [sys.executable, ROOT / "prepare_data.py", "cache", "--data-dir", data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    note = data / CACHE / "progress.json"
    for _ in range(1200):
        if note.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (data / CACHE / "index.json").exists()
    output = cached(script, data)
    assert f"going on with {data / CACHE} after" in output and "after 0 films" not in output
    index = json.loads((data / CACHE / "index.json").read_text())
    rows = np.load(data / CACHE / "films.npy", mmap_mode="r")
    assert rows.shape == (700, 256, 256)
    for n in (0, 255, 256, 511, 699):
        name = index["films"][n][0]
        np.testing.assert_array_equal(rows[n], read_film(data / "images" / name)[0])


def test_a_broken_film_ends_the_caching_with_its_name(fails, data):
    film = sorted((data / "images").iterdir())[3]
    film.unlink()
    film.write_bytes(b"not a film")
    error = fails("prepare_data.py", "cache", "--data-dir", data)
    assert str(film) in error
    assert "index.json" not in tree(data / CACHE)


def test_a_folder_without_films_is_an_error(fails, tmp_path):
    assert "want films in images/" in fails("prepare_data.py", "cache", "--data-dir", tmp_path)
    nowhere = pathlib.Path(tmp_path) / "nowhere"
    assert "nowhere" in fails("prepare_data.py", "cache", "--data-dir", nowhere)
