"""Display shutters of DICOM films (PS3.3, C.7.6.11): which pixels they cover, and with what."""

import io

import numpy as np
import pytest
from helpers.film_files import dicom
from helpers.shutters import ALL, CIRCLE, COLUMNS, NOTHING, PIXELS, POLYGON, RECTANGLE, ROWS
from PIL import Image, ImageDraw

from films.film_pixels import AS_STORED, Reading, read_film, read_film_with_facts
from runtime.files import UserError

pydicom = pytest.importorskip("pydicom", minversion="3")


def read(pixels, reading=AS_STORED, **elements):
    return read_film(io.BytesIO(dicom(pixels, **elements)), None, "film", reading)[0]


def within(shape):
    """A film with a picture in `shape`, bool `[80, 70]`, and black around it."""
    return np.where(shape, PIXELS, 0)


def circle():
    row, column = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
    return (row - 41) ** 2 + (column - 34) ** 2 <= 30**2


def rectangle():
    shape = np.zeros((ROWS, COLUMNS), bool)
    shape[4:72, 2:61] = True  # rows 5 to 72 and columns 3 to 61, where the first is 1
    return shape


def polygon(vertices):
    """The centres of pixels that are in a convex polygon, of (row, column): on one side of all."""
    row, column = np.mgrid[1 : ROWS + 1, 1 : COLUMNS + 1]
    sides = [
        (b[1] - a[1]) * (row - a[0]) - (b[0] - a[0]) * (column - a[1])
        for a, b in zip(vertices, vertices[1:] + vertices[:1], strict=True)
    ]
    return np.all(np.array(sides) >= 0, 0) | np.all(np.array(sides) <= 0, 0)


DIAMOND = [(1, 35), (40, 1), (80, 35), (40, 70)]


def test_pixels_outside_a_rectangle_are_black_and_those_on_its_edges_are_not():
    np.testing.assert_array_equal(read(PIXELS, **RECTANGLE), within(rectangle()))


def test_pixels_outside_a_circle_are_black():
    np.testing.assert_array_equal(read(PIXELS, **CIRCLE), within(circle()))


def test_pixels_outside_a_polygon_are_black():
    np.testing.assert_array_equal(read(PIXELS, **POLYGON), within(polygon(DIAMOND)))


def test_a_polygon_that_is_a_rectangle_covers_what_the_rectangle_covers():
    corners = [5, 3, 5, 61, 72, 61, 72, 3]
    for vertices in (corners, corners[2:] + corners[:2], corners + corners[:2]):
        shutter = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": vertices}
        np.testing.assert_array_equal(read(PIXELS, **shutter), within(rectangle()))


def test_a_polygon_may_have_a_notch():
    """Drawn by Pillow: all edges are along rows and columns, which it does not round."""
    corners = [(2, 1), (48, 1), (48, 58), (30, 58), (30, 20), (10, 20), (10, 40), (2, 40)]  # x, y
    image = Image.new("1", (COLUMNS, ROWS))
    ImageDraw.Draw(image).polygon([(x - 1, y - 1) for x, y in corners], fill=1, outline=1)
    vertices = [n for x, y in corners for n in (y, x)]
    shutter = {"ShutterShape": "POLYGONAL", "VerticesOfThePolygonalShutter": vertices}
    np.testing.assert_array_equal(read(PIXELS, **shutter), within(np.asarray(image)))


def test_of_several_shapes_what_is_within_all_of_them_is_left():
    expected = within(rectangle() & circle() & polygon(DIAMOND))
    np.testing.assert_array_equal(read(PIXELS, **ALL), expected)


def test_what_is_covered_gets_the_presentation_value_in_monochrome1_too():
    """A P-value of 16 bits: 0x8080 is 128 of 255."""
    for kind, pixels in (("MONOCHROME2", PIXELS), ("MONOCHROME1", 255 - PIXELS)):
        shown = {"PhotometricInterpretation": kind}
        film = read(pixels, **RECTANGLE, **shown, ShutterPresentationValue=0x8080)
        np.testing.assert_array_equal(film, np.where(rectangle(), PIXELS, 128))
        np.testing.assert_array_equal(read(pixels, **RECTANGLE, **shown), within(rectangle()))


def test_films_in_colours_have_a_shutter_too():
    rgb = np.repeat(PIXELS[..., np.newaxis], 3, axis=2)
    kind = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    film = read(PIXELS, Reading(any_colours=True), **kind, PixelData=rgb.tobytes(), **CIRCLE)
    np.testing.assert_array_equal(film, within(circle()))


def test_the_shutter_of_an_enhanced_object_is_in_a_functional_group():
    group, shutter = pydicom.Dataset(), pydicom.Dataset()
    for name, value in RECTANGLE.items():
        setattr(shutter, name, value)
    group.FrameDisplayShutterSequence = pydicom.Sequence([shutter])
    groups = {"SharedFunctionalGroupsSequence": pydicom.Sequence([group])}
    np.testing.assert_array_equal(read(PIXELS, **groups), within(rectangle()))


@pytest.mark.parametrize("kind", NOTHING)
def test_a_shape_that_cannot_be_drawn_or_would_leave_nothing_is_left_out(kind):
    np.testing.assert_array_equal(read(PIXELS, **NOTHING[kind]), PIXELS)
    both = {"ShutterShape": [NOTHING[kind]["ShutterShape"] or "HEXAGONAL", "CIRCULAR"]}
    if "CIRCULAR" not in both["ShutterShape"][0]:
        np.testing.assert_array_equal(
            read(PIXELS, **CIRCLE | NOTHING[kind] | both), within(circle())
        )


def test_edges_that_are_no_numbers_are_left_out():
    content = dicom(PIXELS, **RECTANGLE | {"ShutterLowerHorizontalEdge": 7261})
    assert content.count(b"7261") == 1
    for text in (b"Quux", b"1.5 ", b"    "):
        film = read_film(io.BytesIO(content.replace(b"7261", text)), None, "film")[0]
        np.testing.assert_array_equal(film, PIXELS)


def test_edges_may_be_the_wrong_way_round_and_outside_the_film():
    ends = {"ShutterLeftVerticalEdge": 61, "ShutterRightVerticalEdge": 3}
    ends |= {"ShutterUpperHorizontalEdge": -9, "ShutterLowerHorizontalEdge": 99}
    film = read(PIXELS, **RECTANGLE | ends | {"ShutterShape": "RECTANGLE"})
    expected = np.zeros_like(PIXELS)
    expected[:, 2:61] = PIXELS[:, 2:61]
    np.testing.assert_array_equal(film, expected)


def test_a_bitmap_is_refused():
    message = "film: want a display shutter of shapes, got a bitmap, .* export the film as it is"
    with pytest.raises(UserError, match=message):
        read(PIXELS, ShutterShape="BITMAP", ShutterPresentationValue=0)


def test_unused_bits_are_told_by_what_is_seen():
    """White bars that a shutter covers would otherwise hide that the film uses 12 of 16 bits."""
    pixels = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.uint16)
    pixels[:, 50:] = 65535
    shutter = RECTANGLE | {"ShutterRightVerticalEdge": 50, "ShutterLowerHorizontalEdge": 64}
    facts = read_film_with_facts(io.BytesIO(dicom(pixels, **shutter)), None, "film")[1]
    assert facts.span == (0, 4095, 0, 65535)
