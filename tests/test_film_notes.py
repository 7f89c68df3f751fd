"""Doubted films are counted by every command that reads them, and named in a table."""

import io
import shutil

import numpy as np
import pytest
from helpers.film_files import SAID, dicom, grey, picture
from PIL import Image

from dataset import ChestXray14
from films.film_cache import write_cache
from films.film_loader import FilmLoader
from films.film_notes import FilmNotes
from films.film_pixels import FilmFacts, Reading, read_film_with_facts
from films.plausibility import doubt
from public_data.folder_check import check

DEPTH = "3 of 4 films use at most 14 of 16 bits (highest value 16,383): give --window 8192,16384"


def ramp(highest):
    """Values from 0 to the highest, brighter downwards and in the middle, uint16 `[64, 64]`."""
    y, x = np.mgrid[:64, :64] / 63
    shares = y + (1 - abs(2 * x - 1))
    return np.rint(highest * shares / shares.max()).astype(np.uint16)


@pytest.fixture
def folder(tmp_path):
    """A data folder with a film of 16 bits and three of 14, a PNG, a TIFF and a DICOM file."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    files = {
        "a.png": picture(ramp(65_535), "PNG"),
        "b.png": picture(ramp(16_383), "PNG"),
        "c.tif": picture(ramp(12_000), "TIFF"),
        "d.dcm": dicom(ramp(9_000)),
    }
    for name, content in files.items():
        (tmp_path / "images" / name).write_bytes(content)
    lines = "\n".join(f"{name} {'0 ' * 14}" for name in files)
    (tmp_path / "labels" / "test_list.txt").write_text(lines)
    return tmp_path


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_says_it_once(folder, workers, capsys):
    films = ChestXray14(folder, folder / "labels" / "test_list.txt", resize=64)
    loader = FilmLoader(films, batch_size=3, num_workers=workers)
    for _ in range(2):
        assert [len(batch) for batch in loader] == [2, 2]  # films and labels
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "bits" in line]
    assert line == f"warning: {DEPTH}; b.png first"
    assert {"b.png", "c.tif", "d.dcm"} <= set(loader.notes.doubts) and loader.notes.count == 4
    assert films.notes is loader.notes
    films.notes.write(folder / "doubted.csv")
    assert 'd.dcm,"it uses at most 14 of 16 bits' in (folder / "doubted.csv").read_text()


def test_the_cache_and_what_reads_from_it_say_it(folder, capsys):
    paths = {path.name: str(path) for path in sorted((folder / "images").iterdir())}
    write_cache(str(folder), paths, 64, 0)
    assert f"warning: {DEPTH}; b.png first" in capsys.readouterr().err
    assert (folder / "cache_64" / "doubted_films.csv").exists()
    films = ChestXray14(folder, folder / "labels" / "test_list.txt", resize=64)
    assert films.source.startswith("the cache")
    loader = FilmLoader(films, batch_size=2, num_workers=0)
    assert len(list(loader)) == 2
    assert f"warning: {DEPTH}; b.png first" in capsys.readouterr().err


def test_check_counts_them_as_problems(folder):
    lists = {"test": str(folder / "labels" / "test_list.txt")}
    report = check(str(folder), lists, 0, Reading())
    assert f"{DEPTH}; b.png first" in report["problems"]
    assert set(report["films"]["doubted"]) >= {"b.png", "c.tif", "d.dcm"}


def test_check_takes_a_few_doubtful_films_as_a_remark(phantoms, tmp_path):
    shutil.copytree(phantoms, tmp_path / "data")
    films = sorted((tmp_path / "data" / "images").iterdir())  # 44, of which 5 % are 2.2
    paths = {
        part: str(tmp_path / "data" / "labels" / f"{part}_list.txt")
        for part in ("train", "val", "test")
    }
    for inverted, some, place in ((2, films[:2], "remarks"), (3, films[2:3], "problems")):
        for film in some:
            Image.fromarray(255 - np.asarray(Image.open(film))).save(film)
        report = check(str(tmp_path / "data"), paths, 0, Reading())
        assert [len(report[key]) for key in ("remarks", "problems")] == [
            place == "remarks",
            place == "problems",
        ]
        assert f"{inverted} of 44 films look doubtful" in report[place][0]


def test_the_window_that_is_named_helps(folder):
    whole, facts = read_film_with_facts(folder / "images" / "a.png", None)
    assert facts.span == (0, 65_535, 0, 65_535)
    found, facts = read_film_with_facts(
        folder / "images" / "b.png", None, reading=Reading([8192, 16384])
    )
    assert facts.span is None
    assert np.abs(found.astype(int) - whole).max() <= 1


def test_a_narrow_range_that_begins_high_is_named():
    values = (ramp(1_000) + 30_000).astype(np.uint16)
    film, facts = read_film_with_facts(io.BytesIO(dicom(values)), None, "film")
    assert doubt(film, facts.span).text == (
        "its values lie between 30000 and 31000 of 0 to 65535: give --window 30500.5,1001"
    )
    signed = (ramp(1_000).astype(int) - 500).astype(np.int16)
    film, facts = read_film_with_facts(io.BytesIO(dicom(signed)), None, "film")
    assert facts.span == (-500, 500, -32_768, 32_767)
    assert "between -500 and 500" in doubt(film, facts.span).text


@pytest.mark.parametrize(("element", "value", "wanted"), SAID)
def test_what_a_header_says_is_doubted(element, value, wanted):
    content = io.BytesIO(dicom(grey(), **{element: value}))
    film, facts = read_film_with_facts(content, None, "film")
    notes = FilmNotes()
    assert facts.of_header == wanted
    assert (notes.add("film", film, facts).text == wanted) is bool(wanted)


def test_a_header_of_another_type_says_nothing():
    """An orientation of type US, a number where letters belong, is no reason to refuse a film."""
    from pydicom import dcmread

    film = dcmread(io.BytesIO(dicom(grey())))
    film.add_new("PatientOrientation", "US", 5)
    content = io.BytesIO()
    film.save_as(content)
    content.seek(0)
    assert read_film_with_facts(content, None, "film")[1].of_header == ""


def test_decoders_of_films_compressed_with_loss_are_counted():
    from pydicom import uid
    from pydicom.encaps import encapsulate

    pixels = (ramp(65_535) >> 8).astype(np.uint8)
    jpeg = encapsulate([picture(pixels, "JPEG", quality=95)])
    content = dicom(pixels, uid.JPEGBaseline8Bit, data=jpeg)
    notes = FilmNotes()
    for _ in range(2):
        notes.add("film", *read_film_with_facts(io.BytesIO(content), None, "film"))
    notes.add("film", np.zeros((1, 64, 64), np.uint8), FilmFacts())
    ((decoder, count),) = notes.decoders.items()
    assert decoder.startswith("JPEG Baseline (Process 1) by pillow ") and count == 2
    again = FilmNotes(**notes.as_json())
    assert again.decoders == notes.decoders and again.doubts == notes.doubts
