import gzip
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers.folders import link_films, tables_of, tree
from helpers.places import ROOT

from dataset import ChestXray14, RandomCropFlip
from films.film_loader import FilmLoader
from films.film_pixels import read_film
from films.label_lists import patient, read_label_list, read_labels
from public_data.demographics import demographics, demographics_rows
from public_data.nih_tables import read_data_entry

pytestmark = pytest.mark.slow

CACHE = "cache_256"
PARTS = ("train", "val", "test")


@pytest.fixture
def data(phantoms, tmp_path):
    return link_films(phantoms, tmp_path / "data")


def train_films(folder):
    return ChestXray14(folder, folder / "labels" / "train_list.txt", RandomCropFlip(224))


def cached(forked, folder, *words):
    result = forked("prepare_data.py", "cache", "--data-dir", folder, *words)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_cache_gives_the_same_films_to_the_bit(forked, data):
    def batches(dataset):
        return [films.numpy() for films, _ in FilmLoader(dataset, batch_size=7, num_workers=2)]

    before = train_films(data)
    assert before.source == "their files"
    expected = batches(before)
    assert f"wrote {data / CACHE}: 44 films" in cached(forked, data)
    assert tree(data / CACHE) == ["films.npy", "index.json"]
    after = train_films(data)
    assert after.source == f"the cache {data / CACHE}"
    for ours, theirs in zip(batches(after), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "is up to date: 44 films" in cached(forked, data)


def test_the_scripts_use_the_cache_and_say_so(forked, data, random_weights, tmp_path):
    small = ["--resize", 72, "--crop-size", 64, "--batch-size", 8]
    cached(forked, data, "--resize", 72)
    words = ["--data-dir", data, "--weights", random_weights, *small]
    result = forked("eval.py", *words)
    assert result.returncode == 0, result.stderr
    assert f"films come from the cache {data / 'cache_72'}" in result.stderr
    words += ["--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs", "--epochs", 1]
    result = forked("train.py", *words)
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


def cut_cache(folder):
    os.truncate(folder / CACHE / "films.npy", 1000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut_cache, "it is incomplete"),
        (replace_film, "has changed since"),
        (older_version, "another version"),
        (new_film, "99999999_000.png is not in it"),
    ],
)
def test_a_cache_that_is_out_of_date_is_noticed_and_made_again(forked, data, change, reason):
    cached(forked, data)
    change(data)
    dataset = train_films(data)
    assert reason in dataset.source and dataset._rows is None
    assert "wrote" in cached(forked, data)
    assert train_films(data).source == f"the cache {data / CACHE}"


def test_a_run_that_was_killed_goes_on_where_it_stood(forked, phantoms, tmp_path):
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    films = sorted((phantoms / "images").iterdir())
    for n in range(700):  # 44 films under many names: enough work to be killed at
        os.symlink(films[n % len(films)], data / "images" / f"{n:08d}_000.png")
    command = [sys.executable, ROOT / "prepare_data.py", "cache", "--data-dir", data]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    note = data / CACHE / "progress.json"
    for _ in range(6000):
        if note.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (data / CACHE / "index.json").exists()
    output = cached(forked, data)
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


def test_a_full_disk_ends_the_caching_and_with_room_again_it_goes_on(
    forked, fails, phantoms, small_disk
):
    data = link_films(phantoms, small_disk(2) / "data")  # the 44 films take 2.9 MB
    error = fails("prepare_data.py", "cache", "--data-dir", data)
    assert f"{data / CACHE / 'films.npy.tmp'}: No space left on device" in error
    small_disk(9)
    assert f"wrote {data / CACHE}: 44 films" in cached(forked, data)
    assert train_films(data).source == f"the cache {data / CACHE}"


def test_a_folder_without_films_is_an_error(fails, tmp_path):
    assert "no films in images/" in fails("prepare_data.py", "cache", "--data-dir", tmp_path)
    nowhere = pathlib.Path(tmp_path) / "nowhere"
    assert "nowhere" in fails("prepare_data.py", "cache", "--data-dir", nowhere)


def nih_split(folder, train_val, test):
    """A folder as NIH gives it: a table of all films, and two lists of names."""
    (folder / "labels").mkdir(parents=True)
    header = "Image Index,Finding Labels,Patient Age,Patient Gender,View Position\n"
    rows = [f"{name},Mass|Edema,50,F,PA\n" for name in [*train_val, *test]]
    table = folder / "labels" / "Data_Entry_2017_v2020.csv"
    table.write_text(header + "".join(rows).replace("Mass|Edema", "No Finding", 1))
    (folder / "train_val_list.txt").write_text("\n".join(train_val))
    (folder / "test_list.txt").write_text("\n".join(test))
    return folder


def names_of(patients, films):
    return [f"{person:08}_{n:03}.png" for person in patients for n in range(films)]


def test_the_official_split_keeps_patients_whole(forked, fails, tmp_path):
    folder = nih_split(tmp_path / "nih", names_of(range(40), 3), names_of(range(50, 55), 2))
    result = forked("prepare_data.py", "split", "--data-dir", folder)
    assert result.returncode == 0, result.stderr
    official = folder / "labels" / "official"
    lists = {part: read_label_list(official / f"{part}_list.txt") for part in PARTS}
    people = {part: {patient(name) for name in names} for part, (names, _) in lists.items()}
    assert [len(people[part]) for part in PARTS] == [35, 5, 5]  # an eighth of 40
    assert [len(lists[part][0]) for part in PARTS] == [105, 15, 10]
    assert not people["train"] & people["val"]
    assert set(lists["train"][0]) | set(lists["val"][0]) == set(names_of(range(40), 3))
    assert lists["test"][0] == names_of(range(50, 55), 2)
    # Mass and Edema on all films but the first.
    flags = {tuple(row) for row in lists["test"][1]}
    assert flags == {(0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0)}
    assert sum(int(row.any()) for part in PARTS for row in lists[part][1]) == 129
    # Another seed, other patients; the same, the same.
    first = (official / "val_list.txt").read_text()
    forked("prepare_data.py", "split", "--data-dir", folder, "--seed", 1)
    assert (official / "val_list.txt").read_text() != first
    forked("prepare_data.py", "split", "--data-dir", folder, "--seed", 0)
    assert (official / "val_list.txt").read_text() == first
    # A patient on both sides is no split.
    (folder / "test_list.txt").write_text(names_of([3], 1)[0])
    error = fails("prepare_data.py", "split", "--data-dir", folder)
    assert "want no patient in train_val_list.txt and test_list.txt, got 1, 00000003" in error
    assert (official / "val_list.txt").read_text() == first


def test_the_scripts_take_the_official_lists(forked, fails, phantoms, random_weights, tmp_path):
    data = link_films(phantoms, tmp_path / "data")
    words = ["--data-dir", data, "--weights", random_weights, "--split", "official"]
    words += ["--resize", 72, "--crop-size", 64, "--batch-size", 8]
    error = fails("eval.py", *words)
    missing = data / "labels" / "official" / "test_list.txt"
    assert error.startswith(f"error: {missing}: no such list of the official split")
    assert error.endswith(f"python prepare_data.py split --data-dir {data}")
    parts = {part: read_label_list(data / "labels" / f"{part}_list.txt")[0] for part in PARTS}
    nih_split(tmp_path / "nih", parts["train"] + parts["val"], parts["test"])
    table = tmp_path / "nih" / "labels" / "Data_Entry_2017_v2020.csv"
    table.rename(data / "labels" / table.name)
    lists = ["--nih-lists", tmp_path / "nih"]
    assert forked("prepare_data.py", "split", "--data-dir", data, *lists).returncode == 0
    result = forked("eval.py", *words, "--no-report", "--output-dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["test_list"]["path"] == str(missing)
    assert metrics["positives"]["Mass"] == 12  # every one of these, by that table
    words += ["--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs", "--epochs", 1]
    result = forked("train.py", *words)
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "save" / "config.json").read_text())
    assert config["train_list"] == str(data / "labels" / "official" / "train_list.txt")


def test_nih_s_own_split(shared, forked, tmp_path):
    folder = tmp_path / "nih"
    (folder / "labels").mkdir(parents=True)
    packed = shared / "labels" / "Data_Entry_2017_v2020.csv.gz"
    table = gzip.decompress(packed.read_bytes())
    (folder / "labels" / packed.stem).write_bytes(table)
    train_val = (shared / "labels" / "official_train_val_list.txt").read_text()
    (folder / "train_val_list.txt").write_text(train_val)
    names = [line.split(",")[0] for line in table.decode().splitlines()[1:]]
    test = sorted(set(names) - set(train_val.split()))
    (folder / "test_list.txt").write_text("\n".join(test))
    result = forked("prepare_data.py", "split", "--data-dir", folder)
    counts = [line.split(": ")[1] for line in result.stdout.splitlines()]
    # 86,524 films of 28,008 patients, and 25,596 of 2,797: NIH's split.
    assert counts == [
        "75,830 films of 24,507 patients",
        "10,694 films of 3,501 patients",
        "25,596 films of 2,797 patients",
    ]
    (folder / "images").mkdir()
    words = ["--split", "official", "--data-dir", folder, "--json"]
    report = json.loads(forked("prepare_data.py", "check", *words).stdout)
    assert (report["split"], report["label_release"]) == ("official", "2020")
    assert not [problem for problem in report["problems"] if "patients are in" in problem]
    card = tables_of((ROOT / "DATA_CARD.md").read_text())
    assert card[("NIH's own", *PARTS)] == demographics_rows(report["demographics"])[1:]
    entries = read_data_entry(folder / "labels" / packed.stem)
    lists = shared / "sample_256" / "labels"
    of = {
        part: demographics(read_labels(lists / f"{part}_all_list.txt"), entries) for part in PARTS
    }
    assert card[("sample", *PARTS)] == demographics_rows(of)[1:]
