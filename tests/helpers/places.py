"""Where things are, and the sizes that tests use."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
MAP_SIZES = ["--resize", 144, "--crop-size", 128]  # the least at which heat maps are drawn
