"""Elements of DICOM's Display Shutter Module, for films of 80 rows and 70 columns."""

import numpy as np

ROWS, COLUMNS = 80, 70
PIXELS = np.full((ROWS, COLUMNS), 100, np.uint8)
PIXELS[30, 20:22] = 0, 255

RECTANGLE = {
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 3,
    "ShutterRightVerticalEdge": 61,
    "ShutterUpperHorizontalEdge": 5,
    "ShutterLowerHorizontalEdge": 72,
}
CIRCLE = {
    "ShutterShape": "CIRCULAR",
    "CenterOfCircularShutter": [41, 34],
    "RadiusOfCircularShutter": 30,
}
POLYGON = {
    "ShutterShape": "POLYGONAL",
    "VerticesOfThePolygonalShutter": [1, 35, 40, 1, 80, 35, 40, 70],
}
ALL = RECTANGLE | CIRCLE | POLYGON | {"ShutterShape": ["RECTANGULAR", "CIRCULAR", "POLYGONAL"]}

# Shutters of which nothing is left.
NOTHING = {
    "one vertex": POLYGON | {"VerticesOfThePolygonalShutter": [5, 5]},  # a real file has it
    "an odd number": POLYGON | {"VerticesOfThePolygonalShutter": [1, 35, 40, 1, 80, 35, 40]},
    "a line": POLYGON | {"VerticesOfThePolygonalShutter": [1, 1, 80, 80, 40, 40]},
    "zeros": RECTANGLE | dict.fromkeys(list(RECTANGLE)[1:], 0),
    "elsewhere": RECTANGLE | {"ShutterLeftVerticalEdge": 900, "ShutterRightVerticalEdge": 999},
    "no edge": RECTANGLE | {"ShutterLowerHorizontalEdge": None},
    "no radius": CIRCLE | {"RadiusOfCircularShutter": 0},
    "far": CIRCLE | {"RadiusOfCircularShutter": 2**31 - 1},
    "another shape": RECTANGLE | {"ShutterShape": "HEXAGONAL"},
    "points": POLYGON | {"VerticesOfThePolygonalShutter": [5, 5] * 3},
    "no shape": RECTANGLE | {"ShutterShape": None},
}
