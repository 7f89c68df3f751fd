"""What stored values become, beside the formulas of DICOM PS3.3."""

import io

import numpy as np
import pytest
from helpers.film_files import dicom, grey, picture

from films.film_pixels import AS_STORED, Reading, read_film
from films.grey_values import apply_window
from runtime.files import UserError

pydicom = pytest.importorskip("pydicom", minversion="3")


def read(content, reading=AS_STORED):
    return read_film(io.BytesIO(content), None, "film", reading)[0]


TWELVE = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def lut(first, depth, data, count=None, kind="US", type_of_data="US"):
    """A sequence with one LUT; `count`: what its descriptor says, if not the number of entries."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", kind, [count or len(data), first, depth])
    item.add_new("LUTData", type_of_data, data)
    item.ModalityLUTType = "US"
    return pydicom.Sequence([item])


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


FIRST = {
    # Stored values, what else, the first value that the LUT maps (of 16 bits), and what it means.
    "rescaled below 0": (TWELVE, {"RescaleSlope": 1, "RescaleIntercept": -1024}, 65036, -500),
    "rescaled above 0": (TWELVE, {"RescaleSlope": 16, "RescaleIntercept": 0}, 40_000, 40_000),
    "signed": ((TWELVE.astype(int) - 2048).astype(np.int16), {}, 65036, -500),
    "signed, rescaled above 0": (
        (TWELVE.astype(int) - 2048).astype(np.int16),
        {"RescaleSlope": 16, "RescaleIntercept": 32768},
        40_000,
        40_000,
    ),
    "unsigned": (TWELVE, {}, 500, 500),
    "after a modality LUT": (
        TWELVE,
        {"ModalityLUTSequence": lut(0, 16, [16 * n for n in range(4096)])},
        40_000,
        40_000,
    ),
}


@pytest.mark.parametrize("kind", FIRST)
@pytest.mark.parametrize("type_of_first", ["US", "SS"])
def test_the_first_value_of_a_voi_lut_has_the_sign_of_what_goes_in(kind, type_of_first):
    """C.11.2.1.1, whatever type the element has."""
    values, elements, first, meaning = FIRST[kind]
    written = first - 65536 if type_of_first == "SS" and first >= 32768 else first
    data = [13 * n for n in range(5000)]
    elements = elements | {"VOILUTSequence": lut(written, 16, data, kind=type_of_first)}
    slope, intercept = elements.get("RescaleSlope", 1), elements.get("RescaleIntercept", 0)
    if "ModalityLUTSequence" in elements:
        slope = 16
    rows = np.clip(values.astype(int) * slope + intercept - meaning, 0, 4999)
    found = read(dicom(values, BitsStored=12, **elements))
    np.testing.assert_array_equal(found, np.rint(13 * rows / 65535 * 255))


@pytest.mark.parametrize("name", ["ModalityLUTSequence", "VOILUTSequence"])
@pytest.mark.parametrize("form", ["a byte each", "two bytes each", "words", "odd"])
def test_luts_of_8_bits_are_read_in_both_forms(name, form):
    entries = np.arange(256, dtype=np.uint8)[::-1]
    if form == "odd":
        entries = entries[:255]
    data, kind = entries.tobytes() + bytes(len(entries) % 2), "OW"
    if form == "two bytes each":
        data = entries.astype("<u2").tobytes()
    if form == "words":
        data, kind = np.frombuffer(data, "<u2").tolist(), "US"
    sequence = lut(0, 8, data, count=len(entries), type_of_data=kind)
    found = read(dicom(grey(), **{name: sequence}))
    np.testing.assert_array_equal(found, entries[np.minimum(grey(), len(entries) - 1)])


def test_luts_of_big_endian_files_are_read():
    entries = np.arange(256, dtype=np.uint8)[::-1]
    words = entries.copy().view("<u2").astype(">u2").tobytes()  # the first of two in the lower half
    sequence = lut(0, 8, words, count=256, type_of_data="OW")
    content = dicom(grey(), pydicom.uid.ExplicitVRBigEndian, VOILUTSequence=sequence)
    np.testing.assert_array_equal(read(content), 255 - grey())


def test_the_data_of_a_lut_decide_how_long_it_is():
    """As in DCMTK 3.6.7, to one grey level."""
    for entries, count in ((4096, 2048), (3000, 4096), (4095, 4096)):
        data = np.linspace(0, 65535, entries).astype(int)
        found = read(dicom(TWELVE, BitsStored=12, VOILUTSequence=lut(0, 16, data.tolist(), count)))
        expected = data[np.minimum(TWELVE, entries - 1)]
        np.testing.assert_array_equal(found, np.rint(expected / 65535 * 255))


def test_luts_that_say_nothing_are_left_out():
    window = {"BitsStored": 12, "WindowCenter": 2048, "WindowWidth": 1001}
    expected = np.rint(np.clip((TWELVE - 2047.5) / 1000 + 0.5, 0, 1) * 255)
    empty = pydicom.Sequence([pydicom.Dataset()])
    for sequence in (empty, one_entry(), pydicom.Sequence()):
        both = {"VOILUTSequence": sequence, "ModalityLUTSequence": sequence}
        np.testing.assert_array_equal(read(dicom(TWELVE, **window, **both)), expected)


def one_entry():
    item = pydicom.Dataset()
    item.LUTDescriptor, item.ModalityLUTType = [1, 5, 16], "US"
    item.add_new("LUTData", "US", 65535)
    return pydicom.Sequence([item])


def test_entries_may_have_other_depths_than_8_and_16_bits():
    data = list(range(4096))[::-1]
    # 12 bits: 0 to 4,095 is black to white; 8 bits with such entries can only mean that as well.
    for depth in (12, 8):
        found = read(dicom(TWELVE, BitsStored=12, ModalityLUTSequence=lut(0, depth, data)))
        np.testing.assert_array_equal(found, np.rint((4095 - TWELVE) / 4095 * 255))
    with pytest.raises(UserError, match="want a LUT of 1 to 16 bits"):
        read(dicom(TWELVE, BitsStored=12, VOILUTSequence=lut(0, 17, data)))


def test_padding_is_background():
    """C.7.5.1.1.2: in MONOCHROME1 a value of 0 would be white."""
    inverted = {"BitsStored": 12, "PhotometricInterpretation": "MONOCHROME1"}
    whole = read(dicom(TWELVE, **inverted))
    for padding, is_padding in (
        ({"PixelPaddingValue": 0}, TWELVE == 0),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 100}, TWELVE <= 100),
        ({"PixelPaddingValue": 4095, "PixelPaddingRangeLimit": 4000}, TWELVE >= 4000),
    ):
        found = read(dicom(TWELVE, **inverted, **padding))
        np.testing.assert_array_equal(found, np.where(is_padding, 0, whole))
    signed = (TWELVE.astype(int) - 2048).astype(np.int16)
    found = read(dicom(signed, **inverted, PixelPaddingValue=-2048))
    np.testing.assert_array_equal(found, np.where(TWELVE == 0, 0, whole))


@pytest.mark.parametrize("groups", ["Shared", "PerFrame"])
def test_window_and_rescale_of_an_enhanced_object_are_read(groups):
    item, window, rescale = (pydicom.Dataset() for _ in range(3))
    window.WindowCenter, window.WindowWidth = 3000, 2001
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 2, -100, "US"
    item.FrameVOILUTSequence = pydicom.Sequence([window])
    item.PixelValueTransformationSequence = pydicom.Sequence([rescale])
    sequence = {f"{groups}FunctionalGroupsSequence": pydicom.Sequence([item])}
    flat = {"WindowCenter": 3000, "WindowWidth": 2001, "RescaleSlope": 2, "RescaleIntercept": -100}
    found = read(dicom(TWELVE, BitsStored=12, NumberOfFrames=1, **sequence))
    np.testing.assert_array_equal(found, read(dicom(TWELVE, BitsStored=12, **flat)))
    assert found.min() == 0 and 0 < found.mean() < 255


def test_window_and_rescale_of_unknown_type_are_read():
    """Some writers give them the VR UN; DCMTK ignores them then."""
    elements = {"WindowCenter": "3000", "WindowWidth": "2001", "RescaleSlope": "2"}
    whole = read(dicom(TWELVE, BitsStored=12, RescaleIntercept="-100", **elements))
    film = pydicom.dcmread(io.BytesIO(dicom(TWELVE, BitsStored=12)))
    for name, value in (elements | {"RescaleIntercept": "-100"}).items():
        film.add_new(name, "UN", value.encode() + b" " * (len(value) % 2))
    target = io.BytesIO()
    pydicom.dcmwrite(target, film, enforce_file_format=True)
    np.testing.assert_array_equal(read(target.getvalue()), whole)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"WindowWidth": 0.5}, "want a window width of at least 1"),
        ({"WindowWidth": 0, "VOILUTFunction": "LINEAR_EXACT"}, "want a window width above 0"),
        ({"WindowWidth": -3, "VOILUTFunction": "SIGMOID"}, "want a window width above 0"),
    ],
)
def test_windows_that_dicom_forbids_are_named(elements, message):
    with pytest.raises(UserError, match=f"film: {message}.*; give --window"):
        read(dicom(TWELVE, BitsStored=12, WindowCenter=100, **elements))
