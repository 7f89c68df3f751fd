"""predict.py as a command, and its page in a real browser."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from conftest import ROOT, SHARED, requests_of, tree
from PIL import Image
from test_films import PERSON, dicom

from dataset import CLASS_NAMES, read_label_list
from evaluation.predictions_csv import read_predictions

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64]


@pytest.fixture(scope="module")
def films(phantoms):
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    return [phantoms / "images" / name for name in names[:2]]


@pytest.fixture(scope="module")
def thresholds(tmp_path_factory):
    path = tmp_path_factory.mktemp("thresholds") / "metrics.json"
    values = {name: 0.0 for name in CLASS_NAMES} | {"Mass": 1.0, "Hernia": None}
    path.write_text(json.dumps({"thresholds": {"threshold": values}}))
    return path


def test_predictions_are_those_of_eval(
    script, forked, phantoms, evaluated, films, random_weights, thresholds, tmp_path
):
    words = [*SMALL, "--weights", random_weights, "--output-dir"]
    options = ["--classes", "Mass,Hernia", "--thresholds", thresholds]
    result = script("predict.py", *films, *options, *words, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    expected = read_predictions(evaluated / "predictions.csv", names)[:2]
    probs = read_predictions(tmp_path / "out" / "predictions.csv", names[:2])
    assert np.abs(probs - expected).max() <= 1e-5
    pictures = [f"{film.stem}_{name}.png" for film in films for name in ("Hernia", "Mass")]
    assert tree(tmp_path / "out") == sorted(["boxes.csv", "predictions.csv", *pictures])
    with Image.open(tmp_path / "out" / pictures[0]) as image:
        assert (image.size, image.mode) == ((2048, 1024 + 3 * 60), "RGB")  # and a line below
    # The table: the film, then the likeliest finding first.
    lines = result.stdout.splitlines()
    assert [lines[0], lines[15]] == list(map(str, films)) and len(lines) == 30
    order = [CLASS_NAMES[c] for c in np.argsort(-probs[0], kind="stable")]
    assert [line.split()[0] for line in lines[1:15]] == order
    of = dict(zip(CLASS_NAMES, probs[0], strict=True))
    assert f"  {'Mass':<18} {of['Mass']:.4f}  threshold 1.0000  negative" in lines
    assert f"  {'Edema':<18} {of['Edema']:.4f}  threshold 0.0000  positive" in lines
    assert f"  {'Hernia':<18} {of['Hernia']:.4f}  threshold nan" in lines

    # Another prediction into the same folder: nothing of the first stays, but what is not its own.
    (tmp_path / "out" / "mine.png").write_bytes(b"")
    with Image.open(films[1]) as image:
        grey = image.convert("L")
    # Of a folder, in which one film is broken.
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "film.dcm").write_bytes(dicom(np.asarray(grey)))
    (tmp_path / "in" / "broken.png").write_bytes(films[1].read_bytes()[:5000])
    options = ["--classes", "Edema", "--keep-going", *words, tmp_path / "out"]
    result = forked("predict.py", tmp_path / "in", *options)
    assert result.returncode == 1, result.stderr
    assert "1 of 2 films failed" in result.stderr and "Traceback" not in result.stderr
    again = read_predictions(tmp_path / "out" / "predictions.csv", ["deep/film.dcm"])
    assert np.abs(again - probs[1]).max() <= 1e-6
    found = ["boxes.csv", "deep", "deep/film_Edema.png", "failed.csv", "mine.png"]
    assert tree(tmp_path / "out") == [*found, "predictions.csv"]
    lines = (tmp_path / "out" / "failed.csv").read_text().splitlines()
    assert lines[0] == "Image Index,error" and lines[1].startswith("broken.png,")


def test_films_it_cannot_read_leave_nothing_behind(fails, films, random_weights, tmp_path):
    words = [*SMALL, "--weights", random_weights, "--output-dir", tmp_path / "out"]
    broken = tmp_path / "broken.png"
    broken.write_bytes(films[1].read_bytes()[:5000])
    error = fails("predict.py", films[0], broken, *words)
    assert error.startswith(f"error: {broken}: want a complete PNG, JPEG or TIFF film")
    twin = tmp_path / films[0].name
    twin.write_bytes(films[0].read_bytes())
    assert "want films of different names" in fails("predict.py", films[0], twin, *words)
    error = fails("predict.py", films[0], "--classes", "Cold", *words)
    assert "want some of Atelectasis" in error
    metrics = tmp_path / "metrics.json"
    metrics.write_text("{}")
    error = fails("predict.py", films[0], "--thresholds", metrics, *words)
    assert error.startswith(f"error: {metrics}: want a metrics.json with thresholds")
    assert not (tmp_path / "out").exists()


def test_real_films_are_predicted_as_expected(shared, script, reference_weights, tmp_path):
    names, _ = read_label_list(shared / "sample" / "labels" / "test_list.txt")
    films = [shared / "sample" / "images" / name for name in names[:3]]
    words = ["--weights", reference_weights, "--top", 1, "--output-dir", tmp_path]
    result = script("predict.py", *films, *words)
    assert result.returncode == 0, result.stderr
    probs = read_predictions(tmp_path / "predictions.csv", names[:3])
    rows = (shared / "reference" / "expected_predictions.csv").read_text().splitlines()[1:]
    expected = {tuple(row.split(",")[:2]): row.split(",")[2:] for row in rows}
    for name, row in zip(names, probs, strict=False):
        assert np.abs(row - np.array(expected["sample", name], float)).max() <= 1e-5
    assert len(list(tmp_path.glob("*.png"))) == 3


@contextlib.contextmanager
def served(*words):
    """The page, on a port that is free: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, ROOT / "predict.py", "--serve", "--port", port, *words]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    url = f"http://127.0.0.1:{port}/"
    try:
        for _ in range(3000):
            assert process.poll() is None, process.stdout.read()
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}_stcore/health").read()
                break
            time.sleep(0.1)
        yield url, process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)


def wait_for(found, seconds=300):
    """Ask until something is found, and return it."""
    end = time.monotonic() + seconds
    while not (result := found()) and time.monotonic() < end:
        time.sleep(0.1)
    assert result
    return result


def test_the_page(browser, films, random_weights, thresholds, tmp_path):
    pytest.importorskip("streamlit")
    real = SHARED / "sample" / "images" / "00001369_000.png"
    film = real if real.exists() else films[0]
    words = [*SMALL, "--weights", random_weights, "--thresholds", thresholds]
    broken = tmp_path / "broken.png"
    broken.write_bytes(film.read_bytes()[:5000])
    with served(*words) as (url, process):
        browser.get("about:blank")
        requests_of(browser)
        browser.get(url)

        def body():
            return browser.execute_script("return document.body.innerText")

        def inputs():
            return browser.find_elements("css selector", "input[type=file]")

        wait_for(inputs)[0].send_keys(str(broken))
        wait_for(lambda: "error: broken.png: want a complete PNG, JPEG or TIFF film" in body())
        inverted = tmp_path / "inverted.dcm"
        inverted.write_bytes(dicom(255 - np.asarray(Image.open(film).convert("L"))))
        wait_for(inputs)[0].send_keys(str(inverted))
        wait_for(lambda: "inverted.dcm, and where the network looks for" in body())
        assert "inverted.dcm: it looks inverted" in body() or film != real
        assert not [value for value in PERSON.values() if value in browser.page_source]
        wait_for(inputs)[0].send_keys(str(film))
        wait_for(lambda: f"{film.name}, and where the network looks for" in body())
        text = body()
        assert "Not for clinical use" in text and "Traceback" not in text
        assert all(name in text for name in CLASS_NAMES)
        rows = browser.find_elements("css selector", "table tbody tr")
        probs = [float(row.text.split()[-3]) for row in rows if "nan" not in row.text]
        assert probs == sorted(probs, reverse=True) and len(rows) == 14
        picture = wait_for(
            lambda: browser.find_elements("css selector", "[data-testid=stImage] img")
        )
        wait_for(lambda: picture[0].get_property("naturalWidth") > 500)
        # Nothing is fetched from elsewhere, and the film is in no file of the server's.
        asked = [a for a in requests_of(browser) if not a.startswith(("data:", "chrome", "blob:"))]
        assert asked and all(address.startswith(url) for address in asked)
        opened = [os.readlink(f"/proc/{process.pid}/fd/{fd}") for fd in fds(process.pid)]
        assert not [path for path in opened if path.endswith((".png", ".tmp"))]
        # It listens on this computer alone: 127.0.0.1 as the kernel writes it.
        port = int(url.rstrip("/").rpartition(":")[2])
        with open("/proc/net/tcp") as file:
            sockets = [line.split()[1:4] for line in file if f":{port:04X} " in line]
        assert [at for at, _, state in sockets if state == "0A"] == [f"0100007F:{port:04X}"]


def fds(pid):
    return os.listdir(f"/proc/{pid}/fd")


def test_the_page_says_what_is_wrong_with_the_weights(fails, tmp_path):
    pytest.importorskip("streamlit")
    error = fails("predict.py", "--serve", "--weights", tmp_path / "none.pdparams")
    assert "want a weight file, got nothing there" in error


def test_a_port_that_cannot_be_had_is_one_line(fails, random_weights):
    pytest.importorskip("streamlit")
    words = ["--serve", "--weights", random_weights, "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: cannot listen there (" in fails("predict.py", *words, port)
    assert "--port 99999: cannot listen there (" in fails("predict.py", *words, 99999)
