"""The page in Node: films as `read_film` reads them (PNG, JPEG, plain DICOM), and heat maps."""

import hashlib
import io
import json
import shutil
import struct
import zlib

import numpy as np
import paddle
import pydicom
import pytest
from helpers.film_files import SAID, WRAPPED, dicom, grey, picture
from helpers.web_pages import in_node, written
from PIL import Image

from films import plausibility
from films.film_pixels import Reading, read_film, read_film_with_facts
from inference.activation_maps import TenCropMaps
from model import CheXNet, load_weights
from runtime.files import UserError

pytestmark = pytest.mark.slow


def png(width, height, depth, kind, rows, chunks=b"", interlace=0):
    """The bytes of a PNG file with such rows, which PIL would not write."""

    def chunk(name, data):
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlace)
    extra = b"".join(chunk(*each) for each in chunks)
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def adam7(pixels):
    """The rows of the seven pictures that an interlaced PNG has."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    for left, top, across, down in [*passes, (0, 1, 1, 2)]:
        yield from (row.tobytes() for row in pixels[top::down, left::across])


def packed(depth):
    """Rows of 61 grey values of so many bits."""
    values = np.random.default_rng(depth).integers(0, 2**depth, (67, 61))
    bits = (values[:, :, np.newaxis] >> np.arange(depth - 1, -1, -1)) & 1
    return [np.packbits(row.ravel()).tobytes() for row in bits.astype(np.uint8)]


def big_endian(pixels, stored, vr):
    film = pydicom.dcmread(io.BytesIO(dicom(pixels, BitsStored=stored)))
    film.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRBigEndian
    words = pixels if pixels.itemsize == 2 or vr == "OB" else pixels.view(np.uint16)
    film.PixelData = words.byteswap().tobytes() if words.itemsize == 2 else words.tobytes()
    film["PixelData"].VR = vr
    target = io.BytesIO()
    pydicom.dcmwrite(target, film, enforce_file_format=True, little_endian=False, implicit_vr=False)
    return target.getvalue()


def lut(first, depth, values, kind="US"):
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", kind, [len(values), first, depth])
    is_packed = isinstance(values, bytes)
    item.add_new("LUTData", *("OW", values) if is_packed else ("US", list(map(int, values))))
    return pydicom.Sequence([item])


def enhanced(group, **elements):
    """Elements of a functional group, in the sequences of it where they belong."""
    item, window, rescale = (pydicom.Dataset() for _ in range(3))
    for name, value in elements.items():
        setattr(rescale if name.startswith("Rescale") else window, name, value)
    item.FrameVOILUTSequence = pydicom.Sequence([window])
    item.PixelValueTransformationSequence = pydicom.Sequence([rescale])
    return {f"{group}FunctionalGroupsSequence": pydicom.Sequence([item])}


def dicom_rules(twelve):
    """Dict from name to a film for each rule of DICOM PS3.3 that says what values become."""
    signed = twelve.astype(np.int16) - 2048
    ramp, window = [13 * n for n in range(5000)], {"WindowCenter": 2000, "WindowWidth": 1001}
    packed = np.arange(255, -1, -1).astype(np.uint8).tobytes()
    empty = pydicom.Sequence([pydicom.Dataset()])
    nothing = {"VOILUTSequence": empty, "ModalityLUTSequence": lut(5, 16, [65535])}
    padding = {"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 3500}
    turned = {"PhotometricInterpretation": "MONOCHROME1"}
    films = {
        "first value below 0": (twelve, {"RescaleIntercept": -1024}, lut(65036, 16, ramp)),
        "first value below 0, SS": (signed, {}, lut(-500, 16, ramp, "SS")),
        "first value above 32767": (twelve, {"RescaleSlope": 16}, lut(40_000, 16, ramp)),
        "the same, SS": (twelve, {"RescaleSlope": 16}, lut(40_000 - 65536, 16, ramp, "SS")),
        "more bits than the depth": (twelve, {}, lut(0, 8, range(4096))),
        "a byte each": (twelve // 16, {}, lut(0, 8, packed)),
        "LUTs of nothing": (twelve, nothing | window, None),
        "padding": (twelve, turned | padding, None),
        "padding, signed": (signed, turned | {"PixelPaddingValue": -2048}, None),
        "groups": (twelve, enhanced("Shared", **window, RescaleSlope=2, RescaleIntercept=-9), None),
        "groups of a frame": (twelve, enhanced("PerFrame", **window), None),
        "RG": (twelve, {"Modality": "RG"}, None),
        "few bits": (twelve // 8, {}, None),
        "a narrow range": (twelve // 64 + 3000, {}, None),
    }
    return {
        name: dicom(pixels, BitsStored=12, **elements, **({"VOILUTSequence": voi} if voi else {}))
        for name, (pixels, elements, voi) in films.items()
    }


def saved(image, kind, **options):
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def films_it_reads():
    """Dict from name to the bytes of a film, one of each kind that the page reads."""
    plain, odd, image = grey(), grey(67)[:, :61], Image.fromarray(grey())
    deep = np.random.default_rng(0).integers(0, 2**16, (64, 64)).astype(">u2")
    twelve = np.random.default_rng(1).integers(0, 4096, (64, 48)).astype(np.uint16)
    smooth = np.add.outer(np.arange(133), np.arange(120)).astype(np.uint8)
    colours = np.repeat(plain[..., np.newaxis], 3, axis=2)
    curve = np.linspace(0, 1, 3000) ** 2 * 1023
    left_out = ("16-bit TIFF", "16-bit TIFF, low is bright", "8-bit TIFF")
    films = {k: make(plain) for k, make in WRAPPED.items() if k not in left_out}
    films |= {
        "PNG": picture(odd, "PNG"),
        "RGB": picture(colours, "PNG"),
        "RGBA": picture(np.dstack([colours, plain]), "PNG"),
        "palette": saved(image.convert("P"), "PNG"),
        "palette of 4 bits": saved(Image.fromarray(plain // 16 * 17).quantize(16), "PNG", bits=4),
        "1 bit": saved(Image.fromarray(odd).convert("1"), "PNG"),
        "grey with alpha": saved(image.convert("LA"), "PNG"),
        "transparent grey": png(61, 67, 8, 0, odd, [(b"tRNS", b"\0\5")]),
        **{f"grey of {depth} bits": png(61, 67, depth, 0, packed(depth)) for depth in (1, 2, 4)},
        "16 bits with alpha": png(64, 64, 16, 4, [np.stack([r, r], 1).tobytes() for r in deep]),
        "16 bits, RGB": png(64, 64, 16, 2, [np.stack([r] * 3, 1).tobytes() for r in deep]),
        "interlaced": png(61, 67, 8, 0, adam7(odd), interlace=1),
        "interlaced, 16 bits": png(64, 64, 16, 0, adam7(deep), interlace=1),
        "JPEG": picture(odd, "JPEG", quality=30),
        "JPEG, progressive": picture(smooth, "JPEG", progressive=True),
        "JPEG, RGB": picture(np.repeat(smooth[..., np.newaxis], 3, axis=2), "JPEG"),
        **{f"says {value}": dicom(plain, **{key: value}) for key, value, _ in SAID},
        "12 bits": dicom(twelve, BitsStored=12),
        "12 bits, others set": dicom(twelve | np.uint16(0xA000), BitsStored=12),
        "12 bits, signed": dicom(
            (twelve.astype(np.int16) - 2048), BitsStored=12, WindowCenter=-100, WindowWidth=777
        ),
        "rescaled": dicom(twelve, BitsStored=12, RescaleSlope="-2.5", RescaleIntercept="10"),
        "modality LUT": dicom(
            *(twelve, pydicom.uid.ImplicitVRLittleEndian),
            **{"ModalityLUTSequence": lut(200, 16, curve * 60), "BitsStored": 12},
            **{"WindowCenter": 20000, "WindowWidth": 30000},
        ),
        "VOI LUT": dicom(twelve, BitsStored=12, VOILUTSequence=lut(200, 10, curve)),
        "no window": dicom(plain, WindowCenter="", PhotometricInterpretation="MONOCHROME1"),
        "big endian": big_endian(twelve, 12, "OW"),
        "big endian, words of 8 bits": big_endian(plain, 8, "OW"),
        "big endian, 8 bits": big_endian(plain, 8, "OB"),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[274] = orientation
        films[f"PNG, orientation {orientation}"] = picture(odd, "PNG", exif=exif)
        films[f"JPEG, orientation {orientation}"] = picture(odd, "JPEG", exif=exif)
    films["broken EXIF"] = picture(odd, "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    for function in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        window = {"WindowCenter": 1000.5, "WindowWidth": 903, "VOILUTFunction": function}
        films[function] = dicom(twelve, BitsStored=12, RescaleSlope="1.7", **window)
    return films | dicom_rules(twelve)


def films_it_refuses():
    """Dict from name to (key of words.js, bytes) of films that read_film refuses as well."""
    plain, smooth = grey(), np.add.outer(np.arange(133), np.arange(120)).astype(np.uint8)
    whole, jpeg = picture(plain, "PNG"), picture(smooth, "JPEG")
    broken = bytes([whole[60] ^ 1])
    flat = {"RescaleSlope": "0", "RescaleIntercept": "1"}
    colours = np.dstack([plain, plain, plain[::-1]])
    rgb = {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    rgb |= {"PixelData": colours.tobytes()}
    return {
        "colour PNG": ("colours", picture(colours, "PNG")),
        "colour JPEG": ("colours", picture(np.dstack([smooth, smooth // 2, smooth]), "JPEG")),
        "cut PNG": ("broken", whole[: len(whole) // 2]),
        "changed PNG": ("broken", whole[:60] + broken + whole[61:]),
        "cut JPEG": ("broken", jpeg[: len(jpeg) // 2]),
        "cut DICOM": ("broken", dicom(plain)[:-500]),
        "a PDF renamed": ("unknown", b"%PDF-1.4\n" + b"0" * 2000),
        "nothing": ("unknown", b""),
        "small": ("sides", picture(plain[:20], "PNG")),
        "large": ("sides", png(10_001, 10_001, 8, 0, [])),
        "CT": ("modality", dicom(plain, Modality="CT")),
        "frames": ("frames", dicom(plain, NumberOfFrames=2)),
        "colour DICOM": ("colours", dicom(plain, **rgb)),
        "flat": ("flat", dicom(plain, **flat)),
        "window": ("window", dicom(plain, WindowCenter=1, WindowWidth=0)),
        "bits": ("bits", dicom(plain, BitsStored=9)),
        "high bit": ("highBit", dicom(plain.astype(np.uint16) * 16, BitsStored=12, HighBit=15)),
        "function": (
            "window",
            dicom(plain, WindowCenter=128, WindowWidth=256, VOILUTFunction="SQUARE"),
        ),
    }


DOUBTS = {
    "it is nearly blank": "looksBlank",
    "it looks inverted": "looksInverted",
    "it is dark": "looksDark",
    "it does not look like": "looksOther",
    "it uses at most": "usesFewBits",
    "its values lie between": "usesNarrowRange",
    "its header says a lateral view": "headerLateral",
    "its header says a raw film": "headerRaw",
    "its header says ": "headerPart",
}


def word_of(reason):
    """The page's key for what Python doubts."""
    return reason and next(key for start, key in DOUBTS.items() if reason.text.startswith(start))


def test_pixels_are_those_of_read_film(page, tmp_path):
    films = films_it_reads()
    paths = written(films, tmp_path)
    doubts = set()
    for side in (0, 48, 100):  # as they are, smaller, larger
        found = in_node(page, "pixels", side, *paths)
        for name, path, facts in zip(films, paths, found, strict=True):
            film, of_file = read_film_with_facts(path, side or None)
            digest = hashlib.sha256(film.tobytes()).hexdigest()
            reason = plausibility.doubt(film, of_file.span, of_file.of_header)
            assert facts.pop("doubt") == word_of(reason), name
            doubts.add(reason)
            assert facts == {
                "width": film.shape[2],
                "height": film.shape[1],
                "sha256": digest,
            }, name
    found = {word_of(reason) for reason in doubts}
    assert found >= {None, "looksOther", "usesFewBits", "headerLateral", "headerRaw", "headerPart"}


def test_pixels_are_those_of_read_film_by_a_window(page, tmp_path):
    """`export.py --window`: of DICOM films and 16 bits, in place of whatever the file says."""
    site = shutil.copytree(page, tmp_path / "site")
    deep = np.random.default_rng(1).integers(0, 2**14, (64, 64)).astype(np.uint16)
    rows = deep.astype(">u2")
    films = {
        "14 of 16 bits": picture(deep, "PNG"),
        "8 bits, as it is": picture(grey(), "PNG"),
        "DICOM, its own window": dicom(deep, WindowCenter=100, WindowWidth=200),
        "DICOM, a VOI LUT": dicom(deep, VOILUTSequence=lut(200, 10, np.arange(1000))),
        "DICOM, turned and rescaled": dicom(
            deep, PhotometricInterpretation="MONOCHROME1", RescaleSlope="0.5", RescaleIntercept="9"
        ),
        "16 bits, RGB": png(64, 64, 16, 2, [np.stack([r] * 3, 1).tobytes() for r in rows]),
        "16 bits with alpha": png(64, 64, 16, 4, [np.stack([r, r], 1).tobytes() for r in rows]),
    }
    paths = written(films, tmp_path)
    settings = json.loads((site / "settings.json").read_text())
    assert settings["window"] is None
    for window in ([8192.0, 16384.0], [5000.5, 1.0]):
        (site / "settings.json").write_text(json.dumps(settings | {"window": window}))
        found = in_node(site, "pixels", 0, *paths)
        for name, path, facts in zip(films, paths, found, strict=True):
            try:
                film, read = read_film_with_facts(path, None, reading=Reading(window))
            except UserError as error:
                assert "want one channel where --window is given" in str(error), name
                assert facts == {"problem": "windowChannels"}, name
                continue
            assert facts["sha256"] == hashlib.sha256(film.tobytes()).hexdigest(), name
            assert read.span is None and facts["doubt"] not in ("usesFewBits", "usesFewValues")
        assert [name for name, facts in zip(films, found, strict=True) if "problem" in facts] == [
            *("16 bits, RGB", "16 bits with alpha")
        ]


def test_films_are_refused_as_read_film_refuses_them(page, tmp_path):
    films = films_it_refuses()
    paths = written({name: content for name, (_, content) in films.items()}, tmp_path)
    for path in paths:
        with pytest.raises(UserError):
            read_film(path)
    found = [facts.get("problem") for facts in in_node(page, "pixels", 0, *paths)]
    assert dict(zip(films, found, strict=True)) == {k: key for k, (key, _) in films.items()}
    # What only predict.py reads.
    paths[0].write_bytes(WRAPPED["8-bit TIFF"](grey()))
    assert in_node(page, "pixels", 0, paths[0]) == [{"problem": "tiff"}]


def test_heat_maps_are_those_of_predict(page, phantoms, predicted_on_cpu, random_weights, tmp_path):
    films, _ = predicted_on_cpu
    with Image.open(films[0]) as image:
        image.convert("L").resize((200, 250)).save(tmp_path / "long.png")
    network = CheXNet()
    load_weights(network, str(random_weights))
    layer = TenCropMaps(network, 128)
    layer.eval()
    for path in (films[1], tmp_path / "long.png"):
        with paddle.no_grad():
            _, maps = layer(paddle.to_tensor(read_film(path, 144)[np.newaxis]))
        expected = maps.numpy()[0, 5]
        (found,) = in_node(page, "map", 5, path)
        difference = np.abs(np.array(found) - expected).max() / np.ptp(expected)
        print(f"largest difference of a map, of its range: {difference:.1e}")
        assert difference < 1e-4
