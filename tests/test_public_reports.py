"""What people reported in public threads of other projects, tried here: the source is with each."""

import errno
import json
import os
import shutil
import types
import unicodedata

import numpy as np
import pytest
from helpers.evaluations import run
from helpers.folders import link_films
from PIL import Image

import train
from dataset import ChestXray14
from evaluation.class_order import other_order
from evaluation.eval_folder import why_of_others
from evaluation.predictions_csv import read_predictions, write_predictions
from films.film_cache import write_cache
from films.film_paths import find_films
from films.film_pixels import read_film
from films.label_lists import CLASS_NAMES, read_labels
from public_data.folder_check import check, sorted_films
from public_data.nih_tables import read_data_entry
from runtime import command_line
from runtime.files import UserError, sha256
from weights.trained_sizes import check_window
from weights.weight_files import read_weights

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 28212345\n"
PAGE = "<!DOCTYPE html>\n<html><head><title>Virus scan warning</title></head></html>"
LISTED = "00000001_000.png" + 14 * " 0"


@pytest.fixture
def data(phantoms, tmp_path):
    return link_films(phantoms, tmp_path / "data")


# svip-lab/PPGNet 2, git-lfs 4366: "invalid load key, 'v'"; the same with '<' for a web page.
@pytest.mark.parametrize("text, word", [(POINTER, "git lfs pull"), (PAGE, "a web page")])
@pytest.mark.parametrize(
    "name, read",
    [
        ("model.pdparams", read_weights),
        ("model.safetensors", read_weights),
        ("model.pth", read_weights),
        ("film.png", read_film),
        ("train_list.txt", read_labels),
        ("list.csv", read_labels),
        ("Data_Entry_2017_v2020.csv", read_data_entry),
        ("Data_Entry_2017_v2020.csv.gz", read_data_entry),
    ],
)
def test_a_file_that_was_not_fetched_is_told_from_a_broken_one(tmp_path, text, word, name, read):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=f"{name}: this is .*{word}"):
        read(str(tmp_path / name))


def test_so_does_the_converter(fails, tmp_path):
    (tmp_path / "model.pth.tar").write_text(POINTER)
    error = fails("convert_torch_weights.py", tmp_path / "model.pth.tar", tmp_path / "out.pdparams")
    assert "model.pth.tar: this is a Git LFS pointer" in error


# Unstructured-IO/unstructured 4443: what Excel saves as "Unicode Text" is UTF-16.
@pytest.mark.parametrize("read", [read_labels, read_data_entry])
def test_a_table_in_utf_16_says_how_to_save_it(tmp_path, read):
    (tmp_path / "list.csv").write_text("Image Index,Mass\nfilm.png,1\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"UTF-8.*save it again .in a spreadsheet: CSV UTF-8"):
        read(str(tmp_path / "list.csv"))


# PaddlePaddle/PaddleClas pull request 111.
def test_a_list_with_spaces_in_names_is_sent_to_csv(tmp_path):
    (tmp_path / "list.txt").write_text(f"{LISTED}\nfilm of {LISTED}\n")
    with pytest.raises(UserError, match=r"list.txt:2: .*names with spaces take a list in CSV"):
        read_labels(str(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_text(f"{LISTED} 0\n")  # a flag too many is no such name
    with pytest.raises(UserError, match=r"correct the line$"):
        read_labels(str(tmp_path / "list.txt"))


# UCSD-AI4H/COVID-CT 9 (.png listed, .jpeg there), ieee8023/covid-chestxray-dataset 96 (no ending).
@pytest.mark.parametrize(
    "there, listed",
    [
        ("film_1.jpeg", "film_1.png"),
        ("film_1.png", "film_1"),
        ("film_1.PNG", "film_1.png"),
        ("film.1.png", "film.1"),
        (unicodedata.normalize("NFD", "für.png"), unicodedata.normalize("NFC", "für.png")),
        ("ward/film_1.jpeg", "ward/film_1.png"),
    ],
)
def test_a_film_whose_name_is_written_otherwise_is_named(tmp_path, there, listed):
    path = tmp_path / "images" / there
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(UserError) as caught:
        find_films(tmp_path, [listed])
    assert f"there is {os.path.basename(there)!a}: write names as the files" in str(caught.value)
    with pytest.raises(UserError, match="complete the download"):
        find_films(tmp_path, ["other.png"])


def test_check_names_it_too(data):
    lines = (data / "labels" / "test_list.txt").read_text().replace(".png", ".jpg")
    (data / "labels" / "jpg.txt").write_text(lines)
    first = lines.split()[0]
    (problem,) = check(data, {"test": data / "labels" / "jpg.txt"}, 0)["problems"]
    assert problem == (
        f"jpg.txt: 12 films are missing, the first is {first}; "
        f"there is '{first.replace('.jpg', '.png')}': write names as the files have them"
    )


# COVID-Net 70: films that came twice, from two sources.
def test_a_film_that_a_list_names_in_two_ways_is_refused(data):
    name = (data / "labels" / "test_list.txt").read_text().split()[0]
    with pytest.raises(UserError, match=f"once in a list, got it as {name} and as images/{name}"):
        find_films(data, [name, f"images/{name}"])


# elcronos/COVID-19 51, wboag/cxr-baselines 1: the same picture under several names.
def test_a_picture_in_two_lists_under_two_names_is_a_problem(data):
    first, second = (data / "labels" / "test_list.txt").read_text().split("\n")[:2]
    name = first.split()[0]
    with Image.open(data / "images" / name) as film:
        film.save(data / "images" / "99999999_000.png", compress_level=1)  # other bytes
    train = data / "labels" / "train_list.txt"
    train.write_text(first.replace(name, "99999999_000.png") + "\n" + train.read_text())
    paths = {part: data / "labels" / f"{part}_list.txt" for part in ("train", "val", "test")}
    report = check(data, paths, 0)
    assert report["problems"] == [
        "1 films of train_list.txt have the picture of another film of test_list.txt: "
        f"99999999_000.png that of {name}"
    ]
    # Within a list it is no leak.
    paths["test"].write_text(f"{first}\n{first.replace(name, '99999999_000.png')}\n{second}\n")
    report = check(data, {"test": paths["test"]}, 0)
    assert report["problems"] == [] and report["remarks"] == [
        "1 films of test_list.txt have the picture of another film of test_list.txt: "
        f"99999999_000.png that of {name}"
    ]


# haydengunraj/COVIDNet-CT 15: which window did the training have?
@pytest.mark.parametrize(
    "given, said",
    [
        (None, "warning: no --window, but the weights were trained with --window 2048,4096 ("),
        ([1024.0, 4096.0], "warning: --window 1024,4096, but the weights were trained with --win"),
        ([2048.0, 4096.0], ""),
    ],
)
def test_another_window_than_in_training_is_told(tmp_path, capsys, given, said):
    for window in ([2048.0, 4096.0], None):  # without one any is right: films of other kinds
        (tmp_path / "config.json").write_text(json.dumps({"window": window}))
        check_window(str(tmp_path / "epoch_3" / "weights.pdparams"), given)
        printed = capsys.readouterr().err
        assert printed.startswith(said) and bool(printed) == bool(said and window)
        said = said if window is None else ""


def test_eval_and_predict_tell_it(forked, phantoms, random_weights, tmp_path):
    shutil.copy(random_weights, tmp_path / "w.pdparams")
    config = {"window": [2048.0, 4096.0], "resize": 72, "crop_size": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    values = {"threshold": dict.fromkeys(CLASS_NAMES, 0.5)}
    words = ["--weights", tmp_path / "w.pdparams"]
    (film, *_) = (phantoms / "images").iterdir()
    evaluated = forked("eval.py", "--data-dir", phantoms, *words, "--crops", 1, "--no-intervals")
    words += ["--top", 0, "--output-dir", tmp_path / "out"]
    results, path = [evaluated], tmp_path / "metrics.json"
    for theirs, why in (
        ({"weights": {"path": "other", "sha256": "ab"}}, "other weights"),
        ({"crops": 1}, "--crops 1, not --crops 10"),
        ({"crops": 10, "window": [1.0, 2.0]}, "--window 1,2, not no --window"),
    ):
        path.write_text(json.dumps({"thresholds": values, **theirs}))
        results.append(forked("predict.py", film, *words, "--thresholds", path))
        assert f"warning: {path}: they are of {why}; make it anew" in results[-1].stderr
    for result in results:
        assert result.returncode == 0, result.stderr
        assert "trained with --window 2048,4096" in result.stderr


def test_the_command_that_train_py_names_has_the_window(tmp_path, capsys):
    args = types.SimpleNamespace(monitor="auroc", save_dir=str(tmp_path), data_dir="d")
    (tmp_path / "best_model.pdparams").touch()
    for window, words in ((None, ""), ([-100.5, 2048.0], " --window=-100.5,2048")):
        args.window = window
        train.say_what_is_there(args, types.SimpleNamespace(epoch=1, best=0.5), "log")
        last = capsys.readouterr().out.splitlines()[-1]
        assert last.endswith(f"--data-dir d --weights {tmp_path}/best_model.pdparams{words}")


# Thresholds of one network for another: asked in mlmed/torchxrayvision 175 of its own thresholds.
def test_thresholds_of_another_network_are_told(monkeypatch, capsys, phantoms, tmp_path):
    rng = np.random.default_rng(0)
    for part, weights in (("test", "ab"), ("val", "ab"), ("val", "cd")):
        folder = tmp_path / f"{part}_{weights}"
        folder.mkdir()
        names = read_labels(phantoms / "labels" / f"{part}_list.txt").names
        probs = rng.random((len(names), 14)).astype(np.float32)
        write_predictions(folder / "predictions.csv", names, probs)
        facts = {"weights": {"path": "w", "sha256": weights}, "crops": 10}
        facts["predictions_sha256"] = sha256(folder / "predictions.csv")
        (folder / "metrics.json").write_text(json.dumps(facts))
    words = ["--data-dir", phantoms, "--predictions", tmp_path / "test_ab" / "predictions.csv"]
    for weights in ("ab", "cd"):
        path = tmp_path / f"val_{weights}" / "predictions.csv"
        run(monkeypatch, *words, "--thresholds-from", path, "--no-intervals")
        said = f"warning: {path}: they are of other weights; predict those films as these\n"
        assert (said in capsys.readouterr().err) == (weights == "cd")


def test_so_are_those_of_other_crops_or_windows_and_nothing_is_said_of_what_is_not_known():
    ten = {"weights": {"sha256": "ab"}, "crops": 10, "window": None}
    assert why_of_others(ten, ten) is None
    assert why_of_others({"predictions": {"sha256": "01"}}, ten) is None
    assert why_of_others(ten | {"crops": 1}, ten) == "they are of --crops 1, not --crops 10"
    assert (
        why_of_others(ten, ten | {"window": [1, 2]}) == "they are of no --window, not --window 1,2"
    )


# zoogzog/chexnet 9 (NaN), mlmed/torchxrayvision 8 (before the sigmoid), files that Excel has saved.
@pytest.mark.parametrize("value", ["nan", "-2.5", "35.5"])
def test_what_is_no_probability_is_named(tmp_path, value):
    path = tmp_path / "predictions.csv"
    write_predictions(path, ["a.png"], np.full((1, 14), 0.5, np.float32))
    text = path.read_text()
    path.write_text(text, encoding="utf-8-sig")
    assert read_predictions(path, ["a.png"]).tolist() == [14 * [0.5]]
    path.write_text(text.replace("0.5", value, 1))
    with pytest.raises(UserError, match=f"got {value} for a.png, which is no probability of 0 to"):
        read_predictions(path, ["a.png"])


# paloukari/NIH-Chest-X-rays-Classification 36: "is there any difference in the order?"
def test_outputs_in_another_order_are_told():
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 14)) < 0.2).astype(np.float32)
    probs = 1 / (1 + np.exp(1.5 - 1.5 * labels - rng.normal(size=(400, 14))))
    alphabetical = np.argsort(CLASS_NAMES)
    assert other_order(labels, probs) is None
    said = other_order(labels, probs[:, alphabetical])
    # Normal scores 1.5 standard deviations apart: Phi(1.5 / sqrt(2)) = 0.856.
    assert said.startswith("the outputs fit other classes better (mean AUROC 0.8")
    assert other_order(labels, rng.random((400, 14))) is None  # nothing fits
    assert other_order(labels[:20], probs[:20, alphabetical]) is None  # too few to tell
    labels[:200] = np.nan
    assert other_order(labels, probs[:, alphabetical]) and other_order(labels, probs) is None


def test_real_predictions_are_told_in_alphabetical_order_only(shared):
    path = shared / "reference" / "predictions_test_all.csv"
    listed = read_labels(shared / "sample_256" / "labels" / "test_all_list.txt")
    probs = read_predictions(path, listed.names)
    assert other_order(listed.labels, probs) is None
    assert other_order(listed.labels, probs[:, np.argsort(CLASS_NAMES)])


# ultralytics/ultralytics 1599, ultralytics/yolov5 2214: data sets on Kaggle are read-only.
def test_a_data_folder_that_is_read_only_has_a_way_out(phantoms, tmp_path, capsys):
    def write():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), "/kaggle/input/data/cache_256")

    with pytest.raises(SystemExit) as ended:
        command_line.run(write)
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: /kaggle/input/data/cache_256: Read-only file system; give another folder; of "
        "read-only data, one of links (mkdir own; ln -s FOLDER/* own)\n"
    )
    own = tmp_path / "own"  # which works: the cache is in the folder of links
    own.mkdir()
    for entry in phantoms.iterdir():
        (own / entry.name).symlink_to(entry)
    write_cache(own, sorted_films(own), 64, workers=0)
    films = ChestXray14(own, own / "labels" / "test_list.txt", resize=64)
    assert films.source == f"the cache {own / 'cache_64'}" and not (phantoms / "cache_64").exists()
