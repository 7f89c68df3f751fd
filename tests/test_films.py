"""Films as they come: DICOM, 16 bits, folders, and pictures that are no films."""

import io
import logging
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.film_files import DEFLATED, PERSON, WRAPPED, dicom, grey, picture
from helpers.places import ROOT
from PIL import Image

from dataset import ChestXray14
from evaluation.predicted_folder import check_picture_names, draw_pictures, picture_name, unfinished
from films.dicom import apply_window
from films.film_cache import write_cache
from films.film_loader import film_pool, in_order
from films.film_paths import films_below
from films.film_pixels import AS_STORED, Reading, read_film
from films.plausibility import doubt
from inference.activation_maps import caption_height
from public_data.folder_check import sorted_films
from runtime.files import UserError

pydicom = pytest.importorskip("pydicom", minversion="3")

from pydicom import uid


def read(content, reading=AS_STORED):
    return read_film(io.BytesIO(content), None, "film", reading)[0]


@pytest.mark.parametrize("kind", WRAPPED)
def test_a_film_has_the_same_pixels_in_every_file(kind):
    np.testing.assert_array_equal(read(WRAPPED[kind](grey())), grey())


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGBaseline8Bit])
def test_compressed_films_are_decoded(syntax):
    pixels = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    if syntax == uid.JPEG2000Lossless:
        pytest.importorskip("openjpeg")
        np.testing.assert_array_equal(read(dicom(pixels, syntax)), pixels)
    else:
        from pydicom.encaps import encapsulate

        jpeg = picture(pixels, "JPEG", quality=95)
        found = read(dicom(pixels, syntax, data=encapsulate([jpeg])))
        np.testing.assert_array_equal(found, np.asarray(Image.open(io.BytesIO(jpeg))))


def test_lossless_jpeg_is_decoded(tmp_path):
    gdcm = pytest.importorskip("gdcm")
    (tmp_path / "plain.dcm").write_bytes(dicom(grey() * np.uint16(257)))
    reader = gdcm.ImageReader()
    reader.SetFileName(str(tmp_path / "plain.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(tmp_path / "film.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    assert pydicom.dcmread(tmp_path / "film.dcm").file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
    np.testing.assert_array_equal(read_film(tmp_path / "film.dcm", None)[0], grey())


def test_the_range_without_a_window_is_that_of_bits_stored():
    film = read(dicom(np.full((64, 64), 4095, np.uint16), BitsStored=12))
    assert (film == 255).all()
    film = read(dicom(np.full((64, 64), 1024, np.uint16), BitsStored=12))
    assert (film == 64).all()  # 1024 * 255 / 4095 = 63.77


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_are_pydicom_s(function):
    from pydicom.pixels import apply_modality_lut, apply_windowing

    pixels = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    elements = {"RescaleSlope": 2, "RescaleIntercept": -100, "BitsStored": 12}
    elements |= {"WindowCenter": 3000.5, "WindowWidth": 2001, "VOILUTFunction": function}
    content = dicom(pixels, **elements)
    film = pydicom.dcmread(io.BytesIO(content))
    # From -100 to 8090: what 12 bits can be after rescaling.
    shown = apply_windowing(apply_modality_lut(pixels, film), film)
    np.testing.assert_array_equal(read(content), np.rint((shown + 100) / 8190 * 255))


def test_look_up_tables_are_applied():
    item = pydicom.Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.add_new("LUTData", "US", [min(65535, 514 * n) for n in range(256)])
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        if name.startswith("Modality"):
            item.ModalityLUTType = "US"
        film = read(dicom(grey(), **{name: pydicom.Sequence([item])}))
        expected = np.minimum(255, 2 * grey().astype(int))
        if name.startswith("Modality"):  # without a window the range is the table's own
            assert film.min() == 0 and film.max() == 255
        np.testing.assert_array_equal(film, expected)


def test_a_window_that_is_given_is_used_instead():
    values = grey().astype(np.uint16) * 16
    expected = np.rint(np.clip((values - 1999.5) / 1999 + 0.5, 0, 1) * 255)
    reading = Reading([2000.0, 2000.0])
    for content in (dicom(values, WindowCenter=5, WindowWidth=5), picture(values, "PNG")):
        np.testing.assert_array_equal(read(content, reading), expected)
    assert apply_window(np.array([1.0, 2.0, 3.0]), 2.5, 1).tolist() == [0, 0, 1]


FRAMES = np.concatenate([grey(), grey()]).tobytes()
EMPTY = pydicom.encaps.encapsulate([bytes(2)])
REFUSED = {
    "CT": (lambda: dicom(grey(), Modality="CT"), "got modality CT; give --any-modality"),
    "name": (lambda: dicom(grey(), Modality="QUUX SECRET"), "got another modality"),
    "none": (lambda: dicom(grey(), Modality=None), "got another modality"),
    "frames": (
        lambda: dicom(grey(), NumberOfFrames=2, PixelData=FRAMES),
        "want one picture, got 2 frames",
    ),
    "colour": (lambda: dicom(grey(), PhotometricInterpretation="RGB"), "want a grey film"),
    "palette": (
        lambda: dicom(grey(), PhotometricInterpretation="PALETTE COLOR"),
        "want a grey film",
    ),
    "truncated": (lambda: dicom(grey())[:-900], "does not decode (ValueError)"),
    "short": (lambda: dicom(grey())[:200], "want a film, got a DICOM file without a picture"),
    "small": (lambda: dicom(grey(16)), "want a film of 32 to 10,000 pixels a side, got 16 x 16"),
    "wide": (
        lambda: dicom(np.zeros((32, 10_001), np.uint8)),
        "want a film of 32 to 10,000 pixels a side, got 10001 x 32",
    ),
    "liar": (lambda: dicom(grey(), Rows=9999, Columns=9999), "does not decode"),
    "bits": (lambda: dicom(grey(), BitsAllocated=32, BitsStored=32), "want 8 or 16 bits"),
    "high bits": (
        lambda: dicom(grey().astype(np.uint16) * 16, BitsStored=12, HighBit=15),
        "want values in the lowest bits",
    ),
    "width": (lambda: dicom(grey(), WindowCenter=1, WindowWidth=0), "give --window"),
    "function": (
        lambda: dicom(grey(), WindowCenter=128, WindowWidth=256, VOILUTFunction="SQUARE"),
        "a function that DICOM has, got another; give --window",
    ),
    "slope": (lambda: dicom(grey(), RescaleSlope=0, RescaleIntercept=0), "give --window"),
    "PDF": (lambda: b"%PDF-1.7" + bytes(500), "does not decode as any"),
    "movie": (
        lambda: dicom(grey(), uid.MPEG2MPML, data=EMPTY),
        "got transfer syntax MPEG2 Main Profile / Main Level; export it uncompressed",
    ),
    "extended": (
        lambda: dicom(grey() * np.uint16(257), uid.JPEGExtended12Bit, data=EMPTY, BitsStored=12),
        "got none for transfer syntax JPEG Extended (Process 2 and 4); "
        "pip install pylibjpeg pylibjpeg-libjpeg",
    ),
    "32-bit TIFF": (lambda: picture(grey().astype(np.int32), "TIFF"), "want 8 or 16 bits"),
    "two pages": (
        lambda: picture(grey(), "TIFF", save_all=True, append_images=[Image.fromarray(grey())]),
        "want one picture, got 2",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_film_is_refused_and_says_nothing_of_a_person(kind, capfd, caplog, recwarn):
    make, message = REFUSED[kind]
    content = make()
    recwarn.clear()
    with pytest.raises(UserError) as caught:
        read(content)
    shown = str(caught.value) + "".join(capfd.readouterr()) + caplog.text
    shown += "".join(str(warning.message) for warning in recwarn)
    assert str(caught.value).startswith("film: ") and message in shown
    assert not [value for value in [*PERSON.values(), "QUUX"] if value in shown]


def test_a_film_of_another_modality_is_read_where_that_is_asked_for():
    np.testing.assert_array_equal(
        read(dicom(grey(), Modality="OT"), Reading(any_modality=True)), grey()
    )


def test_hostile_values_reach_neither_messages_nor_logs(capfd, caplog):
    caplog.set_level(logging.DEBUG)
    content = dicom(grey(), WindowCenter="1280", WindowWidth=256)
    at = content.index(b"1280")
    for value in (b"Quux", b"-inf", b"nan "):
        with pytest.raises(UserError) as caught:
            read(content[:at] + value + content[at + 4 :])
        shown = str(caught.value) + caplog.text + "".join(capfd.readouterr())
        assert "Quux" not in shown and "inf" not in shown


def test_compressed_pixels_of_another_size_than_the_file_says_are_not_decoded():
    pytest.importorskip("openjpeg")
    content = dicom(grey(), uid.JPEG2000Lossless)
    at = content.index(b"\xff\x4f\xff\x51") + 8
    bomb = content[:at] + 2 * (60_000).to_bytes(4, "big") + content[at + 8 :]
    with pytest.raises(UserError, match=r"64 x 64 pixels as the file says, got .* 60000 x 60000"):
        read(bomb)


def test_a_broken_stream_does_not_end_the_process():
    """GDCM would abort it."""
    pytest.importorskip("gdcm")
    content = bytearray(dicom(grey(), uid.JPEG2000Lossless))
    start = content.index(b"\xff\x4f\xff\x51") + 30  # in the sizes of the picture
    del content[start : start + 4]
    with pytest.raises(UserError, match="want a complete DICOM film"):
        read(bytes(content))


def test_a_deflated_bomb_is_not_inflated(monkeypatch):
    monkeypatch.setattr("films.dicom.DEFLATED_LIMIT", 1 << 24)
    head = dicom(grey(), DEFLATED)
    film = pydicom.dcmread(io.BytesIO(head))
    start = 144 + film.file_meta.FileMetaInformationGroupLength
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    bomb = squeeze.compress(bytes(1 << 25)) + squeeze.flush()
    with pytest.raises(UserError, match="over 16 MB when inflated"):
        read(head[:start] + bomb)


WHOLE = dicom(grey())


def test_without_pydicom_one_line_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match=r"film: want the package pydicom.* pip install 'pydicom"):
        read(WHOLE)


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
    with pytest.raises(UserError, match="want a folder with films, got none"):
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
    with pytest.raises(UserError, match=r"want a name in UTF-8, got other bytes"):
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
    job = (str(tmp_path), "film.dcm", str(tmp_path / "film.dcm"), AS_STORED, maps)
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
        assert next(results) == 0 and begun == [0, 1]
        assert [str(result) for result in results] == ["2", "4", "three", "8"]


def test_a_killed_process_is_one_line():
    with pytest.raises(UserError, match="--num-workers: "), film_pool(1) as pool:
        list(in_order(pool, double, [4, 5, 6], 9))


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


def test_inverted_and_blank_pictures_are_told_from_chest_films():
    assert doubt(chest()) == ""
    assert doubt(chest()[:, :, ::-1]) == ""
    assert "inverted" in doubt(255 - chest())
    assert "no" in doubt(np.ascontiguousarray(np.rot90(chest(), 1, (1, 2))))
    assert "blank" in doubt(chest() // 20)
    assert "blank" in doubt(np.zeros((1, 256, 300), np.uint8))


def test_one_real_film_in_a_hundred_is_warned_of_and_95_inverted_ones(shared):
    folder = shared / "sample_256" / "images"
    films = [read_film(path) for path in sorted(folder.iterdir())[::12]]
    assert sum(bool(doubt(film)) for film in films) <= 0.015 * len(films)  # all 2,383: 0.5 %
    inverted = sum("inverted" in doubt(255 - film) for film in films)
    assert inverted >= 0.95 * len(films)  # all 2,383: 99.5 %
