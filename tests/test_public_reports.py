"""What people reported in public threads of other projects, tried here: the source is with each."""

import os
import unicodedata

import pytest
from helpers.folders import link_films

from films.film_paths import find_films
from films.film_pixels import read_film
from films.label_lists import read_labels
from public_data.folder_check import check
from public_data.nih_tables import read_data_entry
from runtime.files import UserError
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
