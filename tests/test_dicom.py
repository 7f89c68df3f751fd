"""DICOM films: what is read and refused, which decoder reads it, and one that ends its process."""

import io
import logging
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from helpers.film_files import DEFLATED, PERSON, by_gdcm, dicom, grey, picture
from helpers.htj2k import PLANE, TWELVE_BITS, TWELVE_BITS_SIGNED
from helpers.jpeg_lossless import jpeg_lossless
from helpers.places import ROOT
from PIL import Image

from films import dicom_pixels
from films.dicom import is_dicom
from films.film_pixels import AS_STORED, Reading, read_film
from runtime.files import UserError

pydicom = pytest.importorskip("pydicom", minversion="3")

from pydicom import uid
from pydicom.encaps import encapsulate


def read(content, reading=AS_STORED):
    return read_film(io.BytesIO(content), None, "film", reading)[0]


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
    content = by_gdcm(dicom(grey() * np.uint16(257)), "JPEGLosslessProcess14_1", tmp_path)
    film = pydicom.dcmread(io.BytesIO(content))
    assert film.file_meta.TransferSyntaxUID == uid.JPEGLosslessSV1
    np.testing.assert_array_equal(read(content), grey())


def test_high_throughput_jpeg_2000_is_decoded():
    pytest.importorskip("openjpeg")
    for pixels, stream in ((PLANE, TWELVE_BITS), (PLANE - 1500, TWELVE_BITS_SIGNED)):
        kind = np.int16 if pixels.min() < 0 else np.uint16
        data = encapsulate([stream])
        film = read(dicom(pixels.astype(kind), uid.HTJ2KLossless, data=data, BitsStored=12))
        low = 2048 if pixels.min() < 0 else 0
        np.testing.assert_array_equal(film, np.rint((pixels + low) / 4095 * 255))


def test_lossless_jpeg_with_restarts_and_a_point_transform_is_decoded():
    pytest.importorskip("gdcm")
    pixels = np.random.default_rng(0).integers(0, 4096, (40, 48)).astype(np.uint16)
    for rows, shift in ((7, 0), (0, 3), (5, 2)):
        data = encapsulate([jpeg_lossless(pixels, 12, 4, rows, shift)])
        film = read(dicom(pixels, uid.JPEGLossless, data=data, BitsStored=12))
        np.testing.assert_array_equal(film, np.rint((pixels >> shift << shift) / 4095 * 255))


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
    "bits": (lambda: dicom(grey(), BitsAllocated=32, BitsStored=32), "neither 8 nor 16"),
    "high bits": (
        lambda: dicom(grey().astype(np.uint16) * 16, BitsStored=12, HighBit=15),
        "the values are not in the lowest bits",
    ),
    "width": (lambda: dicom(grey(), WindowCenter=1, WindowWidth=0), "give --window"),
    "function": (
        lambda: dicom(grey(), WindowCenter=128, WindowWidth=256, VOILUTFunction="SQUARE"),
        "the window function is none that DICOM has; give --window",
    ),
    "slope": (lambda: dicom(grey(), RescaleSlope=0, RescaleIntercept=0), "give --window"),
    "PDF": (lambda: b"%PDF-1.7" + bytes(500), "does not decode as any"),
    "movie": (
        lambda: dicom(grey(), uid.MPEG2MPML, data=EMPTY),
        "got transfer syntax MPEG2 Main Profile / Main Level; export it uncompressed",
    ),
    "extended": (
        lambda: dicom(grey() * np.uint16(257), uid.JPEGExtended12Bit, data=EMPTY, BitsStored=12),
        "decodes transfer syntax JPEG Extended (Process 2 and 4) is installed; "
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
    with pytest.raises(UserError, match=r"film: the package pydicom.* -r requirements-dicom.txt"):
        read(WHOLE)


def test_bits_above_bits_stored_are_left_out():
    """An overlay in bit 15, as old files have it; PS3.5, 8.1.1."""
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    expected = np.rint(values / 4095 * 255)
    signed = ((values ^ 0x800) | 0x3000).view(np.int16)  # -2048 to 2047, and other bits
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian):
        np.testing.assert_array_equal(read(dicom(values | 0x8000, syntax, BitsStored=12)), expected)
        np.testing.assert_array_equal(read(dicom(signed, syntax, BitsStored=12)), expected)


@pytest.mark.parametrize("is_signed", [0, 1])
@pytest.mark.parametrize("syntax", ["JPEG2000Lossless", "JPEGLSLossless", "RLELossless"])
def test_bits_above_bits_stored_are_left_out_of_compressed_streams(syntax, is_signed):
    encoder = pydicom.pixels.get_encoder(getattr(uid, syntax))
    if not encoder.is_available:
        pytest.skip("want a package that writes this: pylibjpeg-openjpeg, pyjpegls")
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    # A stream of 16 bits in a file of 12.
    dirty = ((values ^ 0x800) | 0x3000).view(np.int16) if is_signed else values | 0x8000
    source = pydicom.dcmread(io.BytesIO(dicom(dirty, getattr(uid, syntax))))
    film = read(dicom(dirty, getattr(uid, syntax), data=source.PixelData, BitsStored=12))
    np.testing.assert_array_equal(film, np.rint(values / 4095 * 255))


@pytest.mark.parametrize("kind", ["implicit", "explicit", "big endian", "with group 2"])
def test_files_without_a_preamble_are_read(kind):
    syntax = {
        "implicit": uid.ImplicitVRLittleEndian,
        "big endian": uid.ExplicitVRBigEndian,
    }.get(kind, uid.ExplicitVRLittleEndian)
    whole = dicom(grey() * np.uint16(257), syntax)
    group = pydicom.dcmread(io.BytesIO(whole)).file_meta.FileMetaInformationGroupLength
    content = whole[132:] if kind == "with group 2" else whole[144 + group :]
    assert is_dicom(io.BytesIO(content))
    np.testing.assert_array_equal(read(content), grey())


def test_other_files_are_not_taken_for_dicom():
    for content in (b"", b"\x08\x00", bytes(500), b"\x08\x00" * 300, picture(grey(), "PNG")):
        assert not is_dicom(io.BytesIO(content))


def test_grey_films_stored_in_colours_are_read():
    rgb = np.stack([grey()] * 3, -1)
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    content = dicom(grey(), **colours, PixelData=rgb.tobytes())
    np.testing.assert_array_equal(read(content), grey())
    planes = colours | {"PlanarConfiguration": 1, "PixelData": rgb.transpose(2, 0, 1).tobytes()}
    np.testing.assert_array_equal(read(dicom(grey(), **planes)), grey())
    rgb[5, 5, 1] ^= 1
    with pytest.raises(UserError, match="want a grey film, got one with colours"):
        read(dicom(grey(), **colours, PixelData=rgb.tobytes()))
    film = read(dicom(grey(), **colours, PixelData=rgb.tobytes()), Reading(any_colours=True))
    np.testing.assert_array_equal(film, np.asarray(Image.fromarray(rgb).convert("L")))


@pytest.mark.parametrize("stored", ["RGB", "YBR_FULL_422"])
def test_a_jpeg_that_says_its_colours_by_adobes_marker(stored):
    """Pillow heeds the marker and gives RGB, which pydicom turned once more."""
    target = io.BytesIO()
    Image.fromarray(np.stack([grey()] * 3, -1)).save(target, "JPEG", quality=95)
    jfif = target.getvalue()
    rest = jfif[4 + int.from_bytes(jfif[4:6], "big") :]  # behind JFIF's marker
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    data = encapsulate([jfif[:2] + adobe + rest])
    colours = {"SamplesPerPixel": 3, "PhotometricInterpretation": stored, "PlanarConfiguration": 0}
    found = read(dicom(grey(), uid.JPEGBaseline8Bit, data=data, **colours))
    with Image.open(target) as image:
        np.testing.assert_array_equal(found, np.asarray(image)[..., 0])


def test_film_radiographs_are_read():
    np.testing.assert_array_equal(read(dicom(grey(), Modality="RG")), grey())


def test_a_file_without_pixels_says_so():
    film = pydicom.dcmread(io.BytesIO(dicom(grey())))
    del film.PixelData
    target = io.BytesIO()
    pydicom.dcmwrite(target, film, enforce_file_format=True)
    with pytest.raises(UserError, match="got a DICOM file without pixel data"):
        read(target.getvalue())


def test_a_pad_byte_behind_jpeg_2000_is_cut(monkeypatch):
    """Pillow 11 to 13 do not decode it where the last tile's length is left open (Psot = 0)."""
    monkeypatch.setattr(dicom_pixels, "ORDER_JPEG_2000", ("pillow",))
    pytest.importorskip("openjpeg")
    source = pydicom.dcmread(io.BytesIO(dicom(grey(), uid.JPEG2000Lossless)))
    stream = bytearray(pydicom.encaps.get_frame(source.PixelData, 0, number_of_frames=1))
    stream = stream[: stream.rindex(b"\xff\xd9") + 2]
    tile = stream.index(b"\xff\x90\x00\x0a")  # start of the tile-part: marker, length, index, Psot
    stream[tile + 6 : tile + 10] = bytes(4)
    content = dicom(grey(), uid.JPEG2000Lossless, data=encapsulate([bytes(stream) + b"\0"]))
    np.testing.assert_array_equal(read(content), grey())


def test_the_scan_header_of_a_sequential_jpeg_is_mended():
    """0, 63, 0 is all that it can be (ITU-T T.81, table B.3); real 12-bit files have 0, 0, 0."""
    jpeg = picture(grey(), "JPEG")
    at = jpeg.index(b"\xff\xda") + 7
    assert jpeg[at : at + 3] == b"\0\x3f\0" and dicom_pixels.mended(jpeg) == jpeg
    assert dicom_pixels.mended(jpeg[: at + 1] + b"\0" + jpeg[at + 2 :]) == jpeg
    progressive = picture(grey(), "JPEG", progressive=True)
    assert dicom_pixels.mended(progressive) == progressive


def test_gdcm_never_gets_lossless_jpeg_of_less_than_8_bits(monkeypatch):
    header = pydicom.dcmread(io.BytesIO(dicom(grey())))
    header.BitsStored = 6
    for syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        header.file_meta.TransferSyntaxUID = syntax
        try:
            assert dicom_pixels.find_plugin(header, "film")[1] == "pylibjpeg"
        except UserError as error:
            assert str(error).endswith("pip install pylibjpeg pylibjpeg-libjpeg")


# Takes gdcm's place: any film that it gets ends the process.
FATAL_GDCM = """\
import os
class Version:
    GetVersion = staticmethod(lambda: "3.0.99")
def Fragment():
    os._exit(86)
"""
READ_ALL = """\
import sys
from films.film_loader import film_pool, in_order
from films.film_pixels import read_film
from runtime.files import UserError
if __name__ == "__main__":
    with film_pool(int(sys.argv[1])) as pool:
        for result in in_order(pool, read_film, sys.argv[2:], 9):
            try:
                print(result().shape)
            except UserError as error:
                print(error)
"""


@pytest.fixture
def fatal(tmp_path):
    """A folder with films, of which the second ends its decoder; and the environment for that."""
    (tmp_path / "gdcm.py").write_text(FATAL_GDCM)
    (tmp_path / "films").mkdir()
    for name in ("a.dcm", "c.dcm"):
        (tmp_path / "films" / name).write_bytes(dicom(grey()))
    lossless = dicom(grey(), uid.JPEGLosslessSV1, data=encapsulate([b"\xff\xd8" + bytes(20)]))
    (tmp_path / "films" / "b.dcm").write_bytes(lossless)
    path = os.pathsep.join([str(tmp_path), ROOT.as_posix()])
    return tmp_path / "films", {**os.environ, "PYTHONPATH": path}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_decoder_that_dies_costs_one_film(fatal, workers):
    folder, environment = fatal
    (folder.parent / "read_all.py").write_text(READ_ALL)
    paths = sorted(map(str, folder.iterdir()))
    command = [sys.executable, str(folder.parent / "read_all.py"), str(workers), *paths, *paths]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100)
    died = f"{paths[1]}: want a film that gdcm decodes, got one that ended its process (exit status"
    shape = "(1, 256, 256)"
    lines = result.stdout.splitlines()
    assert "Traceback" not in result.stderr
    assert [line[: len(died)] for line in lines] == 2 * [shape, died, shape]
    assert "(exit status 86); export it uncompressed" in lines[1]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_decoder_that_dies_is_one_line_of_each_command(
    fatal, workers, script, random_weights, tmp_path
):
    folder, environment = fatal
    small = ["--resize", 72, "--num-workers", workers]
    words = [*small, "--crop-size", 64, "--weights", random_weights]
    died = "b.dcm: want a film that gdcm decodes, got one that ended its process (exit status 86)"
    predicted = [*words, "--top", 0, "--output-dir", tmp_path / "out"]
    result = script("predict.py", folder, "--keep-going", *predicted, env=environment)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    assert died in (tmp_path / "out" / "failed.csv").read_text()
    assert len((tmp_path / "out" / "predictions.csv").read_text().splitlines()) == 3
    (folder / "labels").mkdir()
    lines = "\n".join(f"{name} {'0 ' * 13}1" for name in ("a.dcm", "b.dcm", "c.dcm"))
    (folder / "labels" / "test_list.txt").write_text(lines)
    for command in (
        ["predict.py", folder, *predicted],
        ["eval.py", "--data-dir", folder, *words],
        ["prepare_data.py", "cache", "--data-dir", folder, "--num-workers", max(workers, 1)],
    ):
        result = script(*command, env=environment)
        (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
        assert result.returncode == 2 and died in line and "Traceback" not in result.stderr
