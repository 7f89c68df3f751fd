"""The page of `export.py --format web`: its own scripts in Node. Skips where it cannot be made."""

import hashlib
import json
import shutil
import subprocess

import paddle
import pytest

from films.film_pixels import read_film
from helpers.places import ROOT

if paddle.__version__.startswith("2"):
    pytest.skip("Paddle 2.6 cannot save the crops", allow_module_level=True)
if not (shutil.which("node") and shutil.which("npm")):
    pytest.skip("no Node.js with npm: the page needs both", allow_module_level=True)
pytest.importorskip("pydicom", minversion="3")
pytest.importorskip("paddle2onnx")


def in_node(page, *words):
    """Return what web_page.mjs prints, parsed."""
    command = ["node", ROOT / "tests" / "helpers" / "web_page.mjs", page, *words]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def written(films, folder):
    """Write films, a dict from name to bytes, into files; return their paths."""
    paths = [folder / str(n) for n in range(len(films))]
    for path, content in zip(paths, films.values(), strict=True):
        path.write_bytes(content)
    return paths


def greys(path, side=None):
    """Return what web_page.mjs says of a film that `read_film` reads."""
    film = read_film(path, side)
    digest = hashlib.sha256(film.tobytes()).hexdigest()
    return {"width": film.shape[2], "height": film.shape[1], "sha256": digest}
