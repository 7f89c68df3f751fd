"""The page in the browser reads compressed DICOM films as `read_film` does, in Node."""

import io
import struct

import numpy as np
import pydicom
import pytest
from helpers.film_files import by_gdcm, dicom, grey, picture
from helpers.htj2k import EIGHT_BITS_WITH_LOSS, PLANE, TWELVE_BITS, TWELVE_BITS_SIGNED
from helpers.jpeg_lossless import jpeg_lossless
from helpers.shutters import ALL, CIRCLE, NOTHING, PIXELS, POLYGON, RECTANGLE
from helpers.web_pages import greys, in_node, written
from pydicom import uid
from pydicom.encaps import encapsulate, get_frame

from films.film_pixels import read_film
from runtime.files import UserError

pytest.importorskip("gdcm")
pytest.importorskip("openjpeg")

pytestmark = pytest.mark.slow

SMOOTH = np.add.outer(np.arange(64), np.arange(48))  # 0 to 110
BY_GDCM = {
    "JPEG Lossless": "JPEGLosslessProcess14",
    "JPEG Lossless SV1": "JPEGLosslessProcess14_1",
    "JPEG-LS": "JPEGLSLossless",
    "JPEG-LS with loss": "JPEGLSNearLossless",
    "JPEG 2000 with loss": "JPEG2000",
}


def noisy(bits, is_signed):
    """A picture of so many bits, `[64, 48]`: a slope, and below it noise of all values."""
    values = SMOOTH * (2**bits - 1) // SMOOTH.max()
    values[32:] = np.random.default_rng(bits).integers(0, 2**bits, (32, 48))
    kind = f"{'i' if is_signed else 'u'}{1 if bits == 8 else 2}"
    return (values - 2 ** (bits - 1) * is_signed).astype(kind)


def by_pydicom(content, syntax, plugin):
    film = pydicom.dcmread(io.BytesIO(content))
    film.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    return saved(film)


def saved(film):
    target = io.BytesIO()
    pydicom.dcmwrite(target, film, enforce_file_format=True)
    return target.getvalue()


def without_colour(pixels, kind, **elements):
    """The bytes of a grey film that is stored in three channels."""
    channels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    if kind.startswith("YBR"):
        channels[..., 1:] = 128
    if elements.get("PlanarConfiguration"):
        channels = np.moveaxis(channels, 2, 0)
    shown = {"SamplesPerPixel": 3, "PhotometricInterpretation": kind, "PlanarConfiguration": 0}
    return dicom(pixels, **{"PixelData": channels.tobytes(), **shown, **elements})


def films_of_each_depth(folder):
    for bits in (8, 12, 16):
        for is_signed in (0, 1):
            pixels, name = noisy(bits, is_signed), f"{bits} bits{', signed' * is_signed}"
            shown = "MONOCHROME1" if is_signed else "MONOCHROME2"
            plain = dicom(pixels, BitsStored=bits, PhotometricInterpretation=shown)
            yield f"RLE, {name}", by_pydicom(plain, uid.RLELossless, "pydicom")
            yield f"JPEG 2000, {name}", by_pydicom(plain, uid.JPEG2000Lossless, "pylibjpeg")
            for kind, syntax in BY_GDCM.items():
                if bits > 8 or "JPEG Lossless" not in kind:  # which GDCM does not write
                    yield f"{kind}, {name}", by_gdcm(plain, syntax, folder)


def films_of_jpeg_lossless():
    flat = np.full((40, 48), 2048)
    for bits, pixels in ((8, grey(40)), (12, flat), (16, noisy(16, 0))):
        for predictor in range(1, 8):
            syntax = uid.JPEGLosslessSV1 if predictor == 1 else uid.JPEGLossless
            stream = jpeg_lossless(pixels, bits, predictor)
            kind = np.uint8 if bits == 8 else np.uint16
            content = dicom(
                pixels.astype(kind), syntax, data=encapsulate([stream]), BitsStored=bits
            )
            yield f"predictor {predictor}, {bits} bits", content


def films_of_jpeg_lossless_in_parts():
    """With restart markers, and with a point transform, which leaves out the lowest bits."""
    for bits in (8, 12, 16):
        pixels = noisy(bits, 0)
        for rows, shift in ((1, 0), (7, 0), (64, 0), (0, 1), (0, 3), (5, 2)):
            for predictor in (1, 4, 7):
                stream = encapsulate([jpeg_lossless(pixels, bits, predictor, rows, shift)])
                content = dicom(pixels, uid.JPEGLossless, data=stream, BitsStored=bits)
                yield f"{bits} bits, {predictor}, restarts {rows}, shift {shift}", content


def films_of_htj2k():
    for name, syntax, bits, stream, pixels in (
        ("lossless", uid.HTJ2KLossless, 12, TWELVE_BITS, PLANE.astype(np.uint16)),
        ("signed", uid.HTJ2KLosslessRPCL, 12, TWELVE_BITS_SIGNED, (PLANE - 1500).astype(np.int16)),
        ("with loss", uid.HTJ2K, 8, EIGHT_BITS_WITH_LOSS, PLANE.astype(np.uint8)),
    ):
        yield name, dicom(pixels, syntax, data=encapsulate([stream]), BitsStored=bits)


def films_with_bits_above(folder):
    """Streams of 16 bits in files of 12, whose values have other bits set as well."""
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for is_signed in (0, 1):
        dirty = ((values ^ 0x800) | 0x3000).view(np.int16) if is_signed else values | 0x8000
        plain = dicom(dirty)
        for name, content in (
            ("RLE", by_pydicom(plain, uid.RLELossless, "pydicom")),
            ("JPEG 2000", by_pydicom(plain, uid.JPEG2000Lossless, "pylibjpeg")),
            ("JPEG-LS", by_gdcm(plain, "JPEGLSLossless", folder)),
            ("JPEG Lossless", by_gdcm(plain, "JPEGLosslessProcess14_1", folder)),
        ):
            film = pydicom.dcmread(io.BytesIO(content))
            film.BitsStored, film.HighBit = 12, 11
            yield f"{name}, bits above, signed: {is_signed}", saved(film)


def films_of_jpeg():
    pixels = (2 * SMOOTH).astype(np.uint8)
    channels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    for quality in (30, 95):
        stream = encapsulate([picture(pixels, "JPEG", quality=quality)])
        yield f"JPEG, {quality}", dicom(pixels, uid.JPEGBaseline8Bit, data=stream)
        yield f"JPEG Extended, {quality}", dicom(pixels, uid.JPEGExtended12Bit, data=stream)
        options = {"quality": quality, "subsampling": 1}
        for kind in ("YBR_FULL_422", "YBR_FULL", "RGB"):
            # With JFIF's header it is YBR, whatever the file says.
            stream = encapsulate([picture(channels, "JPEG", **options)])
            yield (
                f"JPEG, {quality}, {kind}",
                dicom(
                    *(pixels, uid.JPEGBaseline8Bit, stream),
                    **{"SamplesPerPixel": 3, "PhotometricInterpretation": kind},
                    PlanarConfiguration=0,
                ),
            )
        stream = encapsulate([picture(channels, "JPEG", quality=quality, keep_rgb=True)])
        yield (
            f"JPEG, {quality}, RGB in the stream",
            dicom(
                *(pixels, uid.JPEGBaseline8Bit, stream),
                **{"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
                PlanarConfiguration=0,
            ),
        )


def film_with_adobe_marker():
    """A film that says RGB, and whose stream says by Adobe's marker that it is YBR."""
    pixels = (2 * SMOOTH).astype(np.uint8)
    stream = picture(np.repeat(pixels[..., np.newaxis], 3, axis=2), "JPEG")
    behind = 4 + int.from_bytes(stream[4:6], "big")  # JFIF's marker
    marker = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
    shown = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    content = encapsulate([stream[:2] + marker + stream[behind:]])
    return dicom(pixels, uid.JPEGBaseline8Bit, content, **shown)


def films_of_three_channels(folder):
    pixels = grey(64)
    rgb, ybr = without_colour(pixels, "RGB"), without_colour(pixels, "YBR_FULL")
    yield from {"RGB": rgb, "YBR": ybr}.items()
    yield "RGB, planes", without_colour(pixels, "RGB", PlanarConfiguration=1)
    yield "RGB of 12 bits", without_colour(pixels * np.uint16(16), "RGB", BitsStored=12)
    halved = np.full((64 * 32, 4), 128, np.uint8)
    halved[:, :2] = pixels.reshape(-1, 2)
    yield "YBR 4:2:2", without_colour(pixels, "YBR_FULL_422", PixelData=halved.tobytes())
    for name, plain in (("RGB", rgb), ("YBR", ybr)):
        yield f"RLE, {name}", by_pydicom(plain, uid.RLELossless, "pydicom")
        for kind in ("JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"):
            yield f"{kind}, {name}", by_gdcm(plain, kind, folder)
    bright = np.full((64, 64, 3), 255, np.uint8)
    bright[..., 2] = 129  # red is cut off at 255, as the others are not
    bright[0] = [254, 128, 128]
    yield "YBR with a tinge", without_colour(pixels, "YBR_FULL", PixelData=bright.tobytes())


def check_as_python(page, films, folder):
    """Node reads films to the same bytes as `read_film`, or refuses those that it refuses."""
    paths = written(films, folder)
    found = in_node(page, "pixels", 0, *paths)
    for name, path, facts in zip(films, paths, found, strict=True):
        facts.pop("doubt", None)
        try:
            expected = greys(path)
        except UserError as error:
            assert "with colours" in str(error) and facts == {"problem": "colours"}, name
            continue
        assert facts == expected, name


def test_compressed_films_are_read_as_read_film_reads_them(page, tmp_path):
    films = dict(films_of_each_depth(tmp_path))
    films |= dict(films_of_jpeg_lossless()) | dict(films_of_jpeg_lossless_in_parts())
    films |= dict(films_with_bits_above(tmp_path)) | dict(films_of_htj2k())
    assert len(films) == 38 + 21 + 54 + 8 + 3
    for path in written(films, tmp_path):
        read_film(path)  # none is refused
    check_as_python(page, films, tmp_path)


def test_grey_films_of_three_channels_are_read_as_read_film_reads_them(page, tmp_path):
    films = dict(films_of_jpeg()) | dict(films_of_three_channels(tmp_path))
    films["Adobe's marker"] = film_with_adobe_marker()
    check_as_python(page, films, tmp_path)


def films_with_shutters():
    deep = PIXELS.astype(np.uint16) * 257
    shown = {"PhotometricInterpretation": "MONOCHROME1", "ShutterPresentationValue": 0x8080}
    for n, shutter in enumerate((RECTANGLE, CIRCLE, POLYGON, ALL, *NOTHING.values())):
        yield f"shutter {n}", dicom(deep, **shutter)
        yield f"shutter {n}, MONOCHROME1", dicom(PIXELS, **shutter, **shown)
    yield "RGB", without_colour(PIXELS, "RGB", **CIRCLE)
    group, item = pydicom.Dataset(), pydicom.Dataset()
    for name, value in ALL.items():
        setattr(item, name, value)
    group.FrameDisplayShutterSequence = pydicom.Sequence([item])
    yield "of a frame", dicom(PIXELS, PerFrameFunctionalGroupsSequence=pydicom.Sequence([group]))
    draw = np.random.default_rng(0)
    for n in range(30):  # edges that cross, and vertices outside the film
        vertices = draw.integers(-20, 100, 2 * draw.integers(3, 9)).tolist()
        yield f"polygon {n}", dicom(PIXELS, **POLYGON | {"VerticesOfThePolygonalShutter": vertices})
        center, radius = draw.integers(-20, 100, 2).tolist(), int(draw.integers(20, 99))
        circle = {"CenterOfCircularShutter": center, "RadiusOfCircularShutter": radius}
        yield f"circle {n}", dicom(PIXELS, **CIRCLE | circle)


def test_what_a_shutter_covers_is_what_read_film_says(page, tmp_path):
    films = dict(films_with_shutters())
    check_as_python(page, films, tmp_path)
    assert len({greys(path)["sha256"] for path in written(films, tmp_path)}) > 40


def films_without_preamble():
    """As old files are: from the first element of group 2, or from that of group 8."""
    twelve = noisy(12, 0)
    shown = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 3000}
    for name, syntax in (
        ("implicit", uid.ImplicitVRLittleEndian),
        ("explicit", uid.ExplicitVRLittleEndian),
        ("big endian", uid.ExplicitVRBigEndian),
    ):
        is_big = syntax == uid.ExplicitVRBigEndian
        whole = dicom(twelve.byteswap() if is_big else twelve, syntax, **shown)
        group = pydicom.dcmread(io.BytesIO(whole)).file_meta.FileMetaInformationGroupLength
        yield name, whole[144 + group :]
        yield f"{name}, with group 2", whole[132:]
    yield "RLE, with group 2", dicom(twelve, uid.RLELossless, **shown)[132:]
    whole = dicom(twelve, uid.ImplicitVRLittleEndian, **shown)
    rest = whole[
        144 + pydicom.dcmread(io.BytesIO(whole)).file_meta.FileMetaInformationGroupLength :
    ]
    syntax = b"1.2.840.10008.1.2\0"
    named = struct.pack("<HHI", 2, 16, len(syntax)) + syntax
    length = struct.pack("<HHII", 2, 0, 4, len(named))
    yield "implicit, group 2 too", length + named + rest
    yield "group 2 without a syntax", b"\2\0\0\0UL\4\0" + bytes(4) + rest


def test_films_without_preamble_are_read_as_read_film_reads_them(page, tmp_path):
    films = dict(films_without_preamble())
    assert len({greys(path)["sha256"] for path in written(films, tmp_path)}) == 1
    check_as_python(page, films, tmp_path)


def test_bytes_behind_the_end_do_not_matter(page, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, 100).astype(np.uint8).tobytes()
    films = {
        f"{syntax.name}, {len(tail)}": dicom(grey(), syntax) + tail
        for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.RLELossless)
        for tail in (b"\0", bytes(2), b"\r\n\r\n", bytes(512), noise)
    }
    check_as_python(page, films, tmp_path)
    assert len({greys(path)["sha256"] for path in written(films, tmp_path)}) == 1


def test_other_files_are_not_taken_for_dicom(page, tmp_path):
    films = {n: c for n, c in enumerate((b"", b"\x08\0", bytes(500), b"\x08\0" * 300))}
    found = in_node(page, "pixels", 0, *written(films, tmp_path))
    assert [facts["problem"] for facts in found] == ["unknown"] * 4


def broken_films(folder):
    """Dict from name to the bytes of films that do not decode, one of each kind and way."""
    plain = dicom(noisy(12, 0), BitsStored=12)
    whole = {
        "RLE": by_pydicom(plain, uid.RLELossless, "pydicom"),
        "JPEG 2000": by_pydicom(plain, uid.JPEG2000Lossless, "pylibjpeg"),
        "JPEG-LS": by_gdcm(plain, "JPEGLSLossless", folder),
        "JPEG Lossless": by_gdcm(plain, "JPEGLosslessProcess14_1", folder),
        "JPEG": dicom(
            grey(), uid.JPEGBaseline8Bit, data=encapsulate([picture(grey(), "JPEG", quality=90)])
        ),
    }
    films = {}
    for name, content in whole.items():
        film = pydicom.dcmread(io.BytesIO(content))
        stream = get_frame(film.PixelData, 0, number_of_frames=1)
        for way, part in (("cut", stream[: len(stream) // 2]), ("nothing", bytes(20))):
            film.PixelData = encapsulate([part])
            film["PixelData"].is_undefined_length = True
            films[f"{name}, {way}"] = saved(film)
        film.PixelData = encapsulate([stream])
        film["PixelData"].is_undefined_length = True
        film.Rows -= 1
        if name != "RLE":  # which says no size
            films[f"{name}, another size"] = saved(film)
        films[f"{name}, the file cut"] = content[: -len(stream) // 2]
    return films, whole


def test_broken_streams_are_refused_and_the_next_film_is_read(page, tmp_path):
    films, whole = broken_films(tmp_path)
    paths = written(films, tmp_path)
    for path in paths:
        with pytest.raises(UserError):
            read_film(path)
    (tmp_path / "whole").mkdir()
    good = written(whole, tmp_path / "whole")
    found = in_node(page, "pixels", 0, *paths, *good)
    problems = [facts.get("problem") for facts in found]
    assert dict(zip(films, problems, strict=False)) == dict.fromkeys(films, "broken")
    assert problems[len(films) :] == [None] * len(good)


def test_what_the_page_does_not_decode_is_told(page, tmp_path):
    twelve = noisy(12, 0)
    empty = encapsulate([bytes(2)])
    films = {
        "another compression": dicom(grey(), uid.MPEG2MPML, data=empty),
        "JPEG of 12 bits": dicom(twelve, uid.JPEGExtended12Bit, data=empty, BitsStored=12),
        "frames": dicom(grey(), uid.RLELossless, data=empty, NumberOfFrames=2),
        "palette": dicom(
            grey(), uid.RLELossless, data=empty, PhotometricInterpretation="PALETTE COLOR"
        ),
        "no pixels": dicom(grey(), PixelData=None),
        "bitmap": dicom(grey(), ShutterShape="BITMAP"),
    }
    found = [facts["problem"] for facts in in_node(page, "pixels", 0, *written(films, tmp_path))]
    expected = ["compressed", "compressed", "frames", "otherColours", "noPixels"]
    expected += ["shutter"]
    assert dict(zip(films, found, strict=True)) == dict(zip(films, expected, strict=True))
