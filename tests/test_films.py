"""Films as they come: DICOM, 16 bits, folders, and pictures that are no films."""

import io
import os
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.film_files import WRAPPED, dicom, grey, picture
from helpers.places import ROOT
from PIL import Image

from dataset import ChestXray14
from evaluation.predict_folder import check_picture_names, draw_pictures, picture_name, unfinished
from films.film_cache import write_cache
from films.film_loader import film_pool, in_order
from films.film_paths import films_below
from films.film_pixels import AS_STORED, Reading, read_both_sizes, read_film
from films.plausibility import Doubt, doubt
from inference.activation_maps import caption_height
from public_data.folder_check import sorted_films
from runtime.files import UserError

pydicom = pytest.importorskip("pydicom", minversion="3")


def read(content, reading=AS_STORED):
    return read_film(io.BytesIO(content), None, "film", reading)[0]


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_film_has_the_same_pixels_in_every_file(kind):
    np.testing.assert_array_equal(read(WRAPPED[kind](grey())), grey())


ORIENTED = {
    # EXIF's orientation: what a viewer does with the stored rows (Exif 2.32, 4.6.5).
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.T,
    6: lambda stored: np.rot90(stored, -1),  # clockwise
    7: lambda stored: stored[::-1, ::-1].T,
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.mark.parametrize("orientation", ORIENTED)
@pytest.mark.parametrize("kind", ["PNG", "PNG of 16 bits", "JPEG", "TIFF", "TIFF of 16 bits"])
def test_films_are_turned_as_their_exif_orientation_says(orientation, kind):
    stored = np.ascontiguousarray(grey()[:, :48])
    if kind == "JPEG":  # even squares of 8 pixels stay what they are
        stored = np.kron(stored[:8, :6] // 16 * 16, np.ones((8, 8), np.uint8))
    values = stored * np.uint16(257) if "16" in kind else stored
    if kind.startswith("TIFF"):
        content = picture(values, "TIFF", tiffinfo={274: orientation})
    else:
        exif = Image.Exif()
        exif[274] = orientation
        content = picture(values, kind.split()[0], exif=exif)
    expected = ORIENTED[orientation](stored)
    difference = np.abs(read(content).astype(int) - expected)
    assert difference.max() <= (2 if kind == "JPEG" else 0)


def test_a_coloured_mark_is_refused_unless_its_luminance_is_wanted():
    marked = np.stack([grey()] * 3, -1)
    marked[:9, :9] = 255, 0, 0
    content = picture(marked, "PNG")
    with pytest.raises(UserError, match=r"got one with colours; .* --any-colours"):
        read(content)
    # ITU-R 601-2: 0.299 of red's 255.
    assert (read(content, Reading(any_colours=True))[:9, :9] == 76).all()
    np.testing.assert_array_equal(read(content, Reading(any_colours=True))[9:], grey()[9:])


def test_a_broken_exif_block_says_nothing():
    for block in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 40):
        np.testing.assert_array_equal(read(picture(grey(), "PNG", exif=block)), grey())


def test_16_bits_in_each_of_several_channels_are_refused_with_a_window():
    """Pillow keeps their high bytes only."""
    rows = grey().astype(">u2") * 257
    rgb = b"".join(b"\0" + np.stack([row] * 3, -1).tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", 64, 64, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rgb)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    np.testing.assert_array_equal(read(content), grey())
    with pytest.raises(UserError, match=r"want one channel where --window is given, got RGB of 16"):
        read(content, Reading([30_000, 20_000]))
    np.testing.assert_array_equal(
        read(picture(np.stack([grey()] * 3, -1), "PNG"), Reading([30_000, 20_000])), grey()
    )


@pytest.fixture
def folder(tmp_path):
    """A data folder of DICOM and 16-bit films, with a list."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    files = {"a.dcm": dicom(grey()), "b.tif": WRAPPED["16-bit TIFF"](grey())}
    files["1.2.840"] = dicom(grey())
    for name, content in files.items():
        (tmp_path / "images" / name).write_bytes(content)
    (tmp_path / "images" / "notes.txt").write_text("no film")
    lines = (f"{name} {'0 ' * 14}" for name in files)
    (tmp_path / "labels" / "list.txt").write_text("\n".join(lines))
    return tmp_path


def test_listed_films_of_any_kind_are_read_and_cached(folder):
    films = sorted_films(folder)
    assert list(films) == ["1.2.840", "a.dcm", "b.tif"]
    dataset = ChestXray14(folder, folder / "labels" / "list.txt", resize=64)
    before = [dataset[n][0] for n in range(3)]
    write_cache(folder, films, 64, 1)
    cached = ChestXray14(folder, folder / "labels" / "list.txt", resize=64)
    assert cached.source.startswith("the cache")
    for n in range(3):
        np.testing.assert_array_equal(cached[n][0], before[n])
    # A window makes other films of the same files.
    reading = Reading([20_000.0, 500.0])
    other = ChestXray14(folder, folder / "labels" / "list.txt", resize=64, reading=reading)
    assert "made with another --window" in other.source
    assert (other[1][0] != before[1]).any()


def test_folders_are_gone_through_and_names_are_relative(folder):
    (folder / "images" / "DICOMDIR").write_bytes(dicom(grey()))
    (folder / "images" / "deep").mkdir()
    (folder / "images" / "deep" / "a.PNG").touch()
    found = films_below([str(folder / "images"), str(folder / "images" / "notes.txt")])
    assert list(found) == ["1.2.840", "a.dcm", "b.tif", "deep/a.PNG", "notes.txt"]
    with pytest.raises(UserError, match=r"a\.dcm: want films of different names"):
        films_below([str(folder / "images"), str(folder / "images" / "a.dcm")])
    with pytest.raises(UserError, match="no films in this folder"):
        films_below([str(folder / "labels")])


def test_folders_behind_links_are_gone_through_once(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for path in ("a/b/one.png", "elsewhere/two.png", "a/._one.png"):
        (tmp_path / path).touch()
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")  # a loop
    assert list(films_below([str(tmp_path / "a")])) == ["b/one.png", "link/two.png"]
    odd = os.fsdecode(os.fsencode(tmp_path / "a") + b"/b\xff.png")
    open(odd, "w").close()
    with pytest.raises(UserError, match=r"the name is not UTF-8"):
        films_below([str(tmp_path / "a")])


def test_a_folder_that_cannot_be_read_is_an_error(heeding_modes, tmp_path):
    (tmp_path / "in" / "shut").mkdir(parents=True)
    (tmp_path / "in" / "one.png").touch()
    (tmp_path / "in" / "shut").chmod(0)
    code = f"from films.film_paths import films_below; films_below([{str(tmp_path / 'in')!r}])"
    command = [*heeding_modes, sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert "PermissionError" in result.stderr and "shut" in result.stderr


def test_a_cache_of_films_of_any_modality_is_not_taken_for_another(tmp_path):
    (tmp_path / "film.dcm").write_bytes(dicom(grey(), Modality="CT"))
    films = {"film.dcm": str(tmp_path / "film.dcm")}
    write_cache(str(tmp_path), films, 64, 0, Reading(None, True))
    (tmp_path / "list.csv").write_text("Image Index,Mass\nfilm.dcm,1\n")
    of_any = ChestXray14(tmp_path, tmp_path / "list.csv", resize=64, reading=Reading(None, True))
    assert "cache" in of_any.source and of_any[0][0].shape == (1, 64, 64)
    with pytest.raises(UserError, match="got modality CT"):
        ChestXray14(tmp_path, tmp_path / "list.csv", resize=64)[0]


def test_pictures_have_names_of_their_own():
    assert picture_name("deep/a.dcm", "Mass") == "deep/a_Mass.png"
    assert picture_name("1.2.840.1", "Mass") == "1.2.840.1_Mass.png"
    with pytest.raises(UserError, match="differ by more than the extension"):
        check_picture_names(["a.dcm", "a.png"])


def test_boxes_are_the_regions_of_each_level_in_pixels_of_the_film(tmp_path):
    (tmp_path / "film.dcm").write_bytes(dicom(grey(128)))
    activation = np.zeros((64, 64), np.float32)
    activation[16:32, 8:24] = 1
    maps = {"Mass": (0.5, activation)}
    film, whole, _ = read_both_sizes(str(tmp_path / "film.dcm"), 64)
    np.testing.assert_array_equal(film, read_film(str(tmp_path / "film.dcm"), 64))
    job = (str(tmp_path), "film.dcm", whole[0], maps)
    boxes = draw_pictures(job)
    # Twice the map's pixels. Between 0 and 1 the values are 0.25 and 0.75: 64 and 191 of 255.
    assert [box[2:] for box in boxes] == [(60, 15, 31, 34, 34), (180, 16, 32, 32, 32)]
    assert {box[:2] for box in boxes} == {("film.dcm", "Mass")}
    assert Image.open(tmp_path / "film_Mass.png").size == (256, 128 + caption_height(128))


def test_results_of_a_run_that_fails_are_gone_and_those_before_stay(tmp_path):
    folder = str(tmp_path / "out")
    with pytest.raises(UserError), unfinished(folder) as partial:
        open(os.path.join(partial, "predictions.csv"), "w").close()
        raise UserError("a film")
    assert not os.path.exists(folder)
    with unfinished(folder) as partial:
        os.mkdir(os.path.join(partial, "deep"))
        for name in ("predictions.csv", "boxes.csv", "deep/a_Mass.png"):
            with open(os.path.join(partial, name), "w") as file:
                file.write("Image Index\ndeep/a.dcm\n")
    with pytest.raises(KeyboardInterrupt), unfinished(folder):
        raise KeyboardInterrupt
    assert sorted(os.listdir(folder)) == ["boxes.csv", "deep", "predictions.csv"]
    with unfinished(folder) as partial:
        open(os.path.join(partial, "predictions.csv"), "w").close()
    assert os.listdir(os.path.join(folder, "deep")) == []
    assert sorted(os.listdir(folder)) == ["deep", "predictions.csv"]


def double(job):
    if job == 3:
        raise UserError("three")
    if job == 5:
        os._exit(9)
    return 2 * job


@pytest.mark.parametrize("workers", [0, 2])
def test_results_come_in_order_and_few_are_begun_ahead(workers):
    begun = []

    def jobs():
        for n in range(5):
            begun.append(n)
            yield n

    with film_pool(workers) as pool:
        results = in_order(pool, double, jobs(), 1)
        assert next(results)() == 0 and begun == [0, 1]
        assert [next(results)(), next(results)()] == [2, 4]
        with pytest.raises(UserError, match="three"):
            next(results)()
        assert [result() for result in results] == [8]


def test_a_killed_process_is_one_line():
    with pytest.raises(UserError, match="--num-workers: "), film_pool(1) as pool:
        [result() for result in in_order(pool, double, [4, 5, 6], 9)]


def chest(side=256):
    """A cartoon of a chest film: dark air and lungs, bright spine and belly."""
    y, x = np.mgrid[:side, :side] / side
    film = np.full((side, side), 120.0)
    film[y > 0.7] = 210
    film[abs(x - 0.5) < 0.08] = 220
    for center in (0.3, 0.7):
        film[((x - center) / 0.16) ** 2 + ((y - 0.42) / 0.3) ** 2 < 1] = 40
    film[(y < 0.1) & (abs(x - 0.5) > 0.1) | (abs(x - 0.5) > 0.47)] = 5
    return film.astype(np.uint8)[np.newaxis]


def test_pictures_that_are_no_film_are_told_from_chest_films():
    assert doubt(chest()) is None
    assert doubt(chest()[:, :, ::-1]) is None
    assert "inverted" in doubt(255 - chest()).text
    assert "no" in doubt(np.ascontiguousarray(np.rot90(chest(), 1, (1, 2)))).text
    assert "blank" in doubt(chest() // 20).text
    assert "blank" in doubt(np.zeros((1, 256, 300), np.uint8)).text
    assert "dark" in doubt(chest() // 2).text


def test_one_real_film_in_a_hundred_is_warned_of_and_95_inverted_ones(shared):
    folder = shared / "sample_256" / "images"
    films = [read_film(path) for path in sorted(folder.iterdir())[::12]]
    assert sum(bool(doubt(film)) for film in films) <= 0.015 * len(films)  # all 2,383: 0.5 %
    inverted = sum("inverted" in (doubt(255 - film) or Doubt("")).text for film in films)
    assert inverted >= 0.95 * len(films)  # all 2,383: 99.5 %
    for share in (2, 4, 8):  # all 2,383: 100 %
        assert all(doubt(film // share) for film in films)
