"""Display shutters of DICOM films: what a viewer covers at the border (DICOM PS3.3, C.7.6.11)."""

import numpy as np

from films.grey_values import eight_bits, places_of
from runtime.files import UserError

EDGES = (
    *("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge"),
    *("ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
)
CIRCLE = ("CenterOfCircularShutter", "RadiusOfCircularShutter")
VERTICES = ("VerticesOfThePolygonalShutter",)
ELEMENTS = ("ShutterShape", "ShutterPresentationValue", *EDGES, *CIRCLE, *VERTICES)
LEAST = 32 * 32  # pixels: the smallest film that is read
FARTHEST = 1 << 20  # pixels: products of coordinates stay exact, here and in the page


def display_shutter(header):
    """Return what a film's display shutter leaves to be seen, and what covers the rest.

    Several shapes leave what is within all of them. Pixels on the edge of a shape are within it. A
    shape that cannot be drawn, or would leave next to nothing, is left out.

    Args:
        header: a pydicom data set.

    Returns:
        shown: bool `[H, W]`; None for a film without a shutter.
        grey: uint8, Shutter Presentation Value; without one black.

    Raises:
        UserError: the shutter is a bitmap, which images do not have; without the name of the film.
    """
    place = next((place for place in places_of(header) if place.get("ShutterShape")), None)
    if place is None:
        return None, 0
    names = place.ShutterShape
    names = [name.strip() for name in ([names] if isinstance(names, str) else names)]
    if "BITMAP" in names:
        raise UserError(
            "want a display shutter of shapes, got a bitmap, which presentation states have; "
            "export the film as it is shown"
        )
    shown = None
    for name, draw in SHAPES.items():
        shape = draw(place, int(header.Rows), int(header.Columns)) if name in names else None
        if shape is not None and shown is not None:
            shape &= shown
        if shape is not None and np.count_nonzero(shape) >= LEAST:
            shown = shape
    value = place.get("ShutterPresentationValue")
    return shown, eight_bits((value if isinstance(value, int) else 0) / 0xFFFF)


def _rectangle(place, rows, columns):
    edges = _numbers(place, EDGES)
    if len(edges) != 4:
        return None
    (left, right), (top, bottom) = sorted(edges[:2]), sorted(edges[2:])
    row, column = np.ogrid[1 : rows + 1, 1 : columns + 1]  # the first pixel is 1, 1
    return (row >= top) & (row <= bottom) & (column >= left) & (column <= right)


def _circle(place, rows, columns):
    numbers = _numbers(place, CIRCLE)
    if len(numbers) != 3:
        return None
    center_row, center_column, radius = numbers
    row, column = np.ogrid[1 : rows + 1, 1 : columns + 1]
    squares = radius**2 - (row - center_row) ** 2
    halves = np.where(squares < 0, -1, np.floor(np.sqrt(np.maximum(squares, 0))))
    return np.abs(column - center_column) <= halves


def _polygon(place, rows, columns):
    numbers = np.array(_numbers(place, VERTICES), np.int64)
    if len(numbers) < 6 or len(numbers) % 2:
        return None
    vertices = numbers.reshape(-1, 2) - 1
    # Within it is what an odd number of edges is to the left of; on_edge: the centre of the pixel.
    flips, on_edge = np.zeros((2, rows, columns + 1), bool)
    for ends in zip(vertices, np.roll(vertices, -1, axis=0), strict=True):
        (top, start), (bottom, end) = sorted(map(tuple, ends))
        row = np.arange(max(top, 0), min(bottom, rows - 1) + 1)
        if top == bottom:
            on_edge[row, max(start, 0) : max(end + 1, 0)] = True
            continue
        column, rest = np.divmod(start * (bottom - top) + (row - top) * (end - start), bottom - top)
        is_exact = (rest == 0) & (column >= 0) & (column < columns)
        on_edge[row[is_exact], column[is_exact]] = True
        # A row that an edge ends at counts where the edge begins.
        flips[row, np.clip(column + (rest > 0), 0, columns)] ^= row < bottom
    return (np.logical_xor.accumulate(flips, axis=1) | on_edge)[:, :-1]


SHAPES = {
    "RECTANGULAR": _rectangle,
    "RECTANGLE": _rectangle,  # what some writers call it
    "CIRCULAR": _circle,
    "POLYGONAL": _polygon,
}


def _numbers(place, names):
    """Return the whole numbers of elements; [] where there are others."""
    try:
        numbers = [int(number) for name in names for number in np.ravel(place.get(name))]
    except (TypeError, ValueError, OverflowError):  # pydicom's, of texts that are none
        return []
    return numbers if all(abs(number) <= FARTHEST for number in numbers) else []
