"""predict.py as a command, and its page in a real browser."""

import csv
import json
import os
import shutil
import socket
from functools import partial

import numpy as np
import pytest
from helpers.film_files import PERSON, dicom
from helpers.folders import tree
from helpers.pages import requests_of, served, text_of
from helpers.places import ROOT, SHARED
from helpers.processes import wait_for
from PIL import Image

from evaluation.predictions_csv import read_predictions, write_predictions
from films.film_pixels import Reading
from films.label_lists import CLASS_NAMES, read_label_list
from inference.activation_maps import TenCropMaps
from inference.engine import load_network
from serving import server as serving_server
from serving.server import Page

pytestmark = pytest.mark.slow

UNKNOWN = ("Atelectasis", "Pneumonia", "Hernia")  # of which a reference file knows nothing
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


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """An operating_points.json: probabilities are as foretold, and no film is positive."""
    path = tmp_path_factory.mktemp("reference") / "operating_points.json"
    facts = {"films": 8, "positives": 2, "prevalence": 0.25, "threshold": 2.0}
    facts |= {"quantiles_without": [n / 100 for n in range(101)], "quantiles_with": None}
    facts["calibration"] = {"slope": 1.0, "intercept": 0.0}
    by_class = dict.fromkeys(CLASS_NAMES, facts)
    nothing = dict.fromkeys(("prevalence", "threshold", "quantiles_without", "calibration"))
    by_class |= {name: facts | nothing for name in UNKNOWN}
    values = {"films": 8, "patients": 7, "by_class": by_class}
    path.write_text(json.dumps(values | {"weights": {"sha256": "ab"}}))
    return path


def test_predictions_are_those_of_eval(
    script, phantoms, evaluated, films, random_weights, thresholds, tmp_path
):
    words = [*SMALL, "--weights", random_weights, "--output-dir"]
    result = script("predict.py", *films, "--thresholds", thresholds, *words, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    expected = read_predictions(evaluated / "predictions.csv", names)[:2]
    probs = read_predictions(tmp_path / "out" / "predictions.csv", names[:2])
    assert np.abs(probs - expected).max() <= 1e-5
    assert "no heat maps: at crops of 64 pixels a map has 2 x 2 values" in result.stderr
    assert tree(tmp_path / "out") == ["predictions.csv"]
    # The table: the film, then the likeliest finding first.
    lines = result.stdout.splitlines()
    assert [lines[0], lines[16]] == list(map(str, films)) and len(lines) == 32
    assert lines[1].split() == ["probability", "threshold", "decision"]
    order = [CLASS_NAMES[c] for c in np.argsort(-probs[0], kind="stable")]
    assert [line.split()[0] for line in lines[2:16]] == order
    of = dict(zip(CLASS_NAMES, probs[0], strict=True))
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:16]}
    assert rows["Mass"] == [f"{of['Mass']:.4f}", "1.0000", "negative"]
    assert rows["Edema"] == [f"{of['Edema']:.4f}", "0.0000", "positive"]
    assert rows["Hernia"] == [f"{of['Hernia']:.4f}", "nan"]


def test_a_folder_of_films_with_reference_values(
    forked, films, random_weights, reference, tmp_path
):
    with Image.open(films[1]) as image:
        grey = image.convert("L")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "film.dcm").write_bytes(dicom(np.asarray(grey)))
    shutil.copy(films[1], tmp_path / "in" / "film.png")
    (tmp_path / "in" / "broken.png").write_bytes(films[1].read_bytes()[:5000])
    # Of an earlier prediction into the same folder nothing stays, but what is not its own.
    out = tmp_path / "out"
    write_predictions(out / "predictions.csv", ["old.png"], np.full((1, 14), 0.5))
    for name in ("old_Mass.png", "mine.png", "boxes.csv"):
        (out / name).write_bytes(b"")
    words = ["--resize", 144, "--crop-size", 128, "--weights", random_weights]
    options = ["--classes", "Mass,Hernia", "--keep-going", "--reference", reference]
    result = forked("predict.py", tmp_path / "in", *options, *words, "--output-dir", out)
    assert result.returncode == 1, result.stderr
    assert "1 of 3 films failed" in result.stderr and "Traceback" not in result.stderr
    assert f"warning: {reference}: they are of other weights; make it anew" in result.stderr
    found = read_predictions(out / "predictions.csv", ["deep/film.dcm", "film.png"])
    assert np.abs(found[0] - found[1]).max() <= 1e-6
    pictures = [f"film_{name}.png" for name in ("Hernia", "Mass")]
    tables = ["boxes.csv", "failed.csv", "findings.csv", "mine.png", "predictions.csv"]
    deep = ["deep", *(f"deep/{picture}" for picture in pictures)]
    assert sorted(tree(out)) == sorted([*tables, *pictures, *deep])
    with Image.open(out / pictures[0]) as image:
        assert (image.size, image.mode) == ((2048, 1024 + 4 * 60), "RGB")  # and a line below
    lines = (out / "failed.csv").read_text().splitlines()
    assert lines[0] == "Image Index,error" and lines[1].startswith("broken.png,")
    # 0.5 is the middle of films without a finding, and no threshold is below 2.
    prob = f"{found[1][CLASS_NAMES.index('Mass')]:.4f}"
    lines = result.stdout.splitlines()
    assert lines[1].split("  ")[-1] == "caution" and "  calibrated  base rate  above" in lines[1]
    [line] = {line for line in lines if line.startswith("  Mass ")}
    assert line.split()[1:4] == [prob, prob, "0.2500"] and len(line) <= 100
    assert line.endswith("2.0000     negative  by 2 films")
    assert result.stdout.count("  no finding above its threshold (of the 11 that have one)\n") == 2
    with open(out / "findings.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["Finding Label"] == "Mass"]
    assert [row["Image Index"] for row in rows] == ["deep/film.dcm", "film.png"]
    assert float(rows[1]["calibrated"]) == pytest.approx(float(rows[1]["probability"]), abs=1e-6)
    above = int(np.ceil(100 * float(rows[1]["probability"])) - 1)
    known = [rows[1][key] for key in ("above", "positives", "decision")]
    assert known == [str(above), "2", "negative"]


def test_films_are_decoded_once_and_weights_are_read_once(
    script, films, random_weights, reference, tmp_path
):
    words = ["--resize", 144, "--crop-size", 128, "--weights", random_weights, "--num-workers", 0]
    for name, more in {
        "predict.py": ["--top", 1, "--reference", reference],
        "export.py": ["--format", "safetensors"],
    }.items():
        command = [name, *films, *words[: 8 if name == "predict.py" else 6], *more]
        command += ["--output-dir", tmp_path / name]
        result = script("tests/helpers/opened.py", ".png,.pdparams", *command)
        assert result.returncode == 0, result.stderr
        opened = [line.split(" ", 2)[1:] for line in result.stdout.splitlines() if "opened" in line]
        times = {path: int(times) for times, path in opened}
        assert [times[str(film)] for film in films] == [1, 1]
        # Its digest, a look at its first bytes, and its tensors.
        assert times[str(random_weights)] == 3


def test_a_film_too_long_for_a_heat_map_is_predicted_without(
    forked, films, random_weights, tmp_path
):
    with Image.open(films[0]) as image:
        image.convert("L").resize((300, 800)).save(tmp_path / "long.png")
    words = ["--resize", 144, "--crop-size", 128, "--weights", random_weights, "--top", 1]
    result = forked("predict.py", tmp_path / "long.png", *words, "--output-dir", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    reason = "crops of 128 pixels leave out a part of 144 x 384"
    assert f"no heat map: {tmp_path / 'long.png'}: {reason}" in result.stderr
    assert "pictures" not in result.stderr and tree(tmp_path / "out") == ["predictions.csv"]


def test_films_it_cannot_read_leave_nothing_behind(fails, films, random_weights, tmp_path):
    words = [*SMALL, "--weights", random_weights, "--output-dir", tmp_path / "out"]
    broken = tmp_path / "broken.png"
    broken.write_bytes(films[1].read_bytes()[:5000])
    error = fails("predict.py", films[0], broken, *words)
    assert error.startswith(f"error: {broken}: want a complete PNG, JPEG, TIFF or DICOM film")
    twin = tmp_path / films[0].name
    twin.write_bytes(films[0].read_bytes())
    assert "want films of different names" in fails("predict.py", films[0], twin, *words)
    error = fails("predict.py", films[0], "--classes", "Pleural Thickening", *words)
    assert "did you mean Pleural_Thickening?" in error
    error = fails("predict.py", films[0], "--classes", "Cold", *words)
    assert "want some of Atelectasis" in error
    metrics = tmp_path / "metrics.json"
    metrics.write_text("{}")
    error = fails("predict.py", films[0], "--thresholds", metrics, *words)
    assert error.startswith(
        f"error: {metrics}: not a metrics.json with thresholds (it has no 'thresholds')"
    )
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


def test_the_page_shows_what_predict_prints_of_a_film(predicted_on_cpu, random_weights):
    """Without a browser, by Streamlit's own test of an app."""
    testing = pytest.importorskip("streamlit.testing.v1")
    films, expected = predicted_on_cpu
    network = load_network(str(random_weights), 128)
    page = Page(TenCropMaps(network, 128), 128, 144, Reading(), None, None, None)
    serving_server.served[:] = [page]
    path = str(ROOT / "serving" / "streamlit_page.py")
    app = testing.AppTest.from_file(path, default_timeout=120).run()
    (upload,) = app.get("file_uploader")
    if not hasattr(upload, "set_value"):
        pytest.skip("this Streamlit's test cannot upload")
    upload.set_value((films[0].name, films[0].read_bytes(), "image/png")).run()
    assert not app.exception and not app.error
    rows = [line.split(" | ") for line in app.markdown[-1].value.splitlines()[2:]]
    shown = {name.strip("| "): prob.strip(" |") for name, prob in rows}
    for name, prob in zip(CLASS_NAMES, expected[0], strict=True):
        assert float(shown[name]) == pytest.approx(float(prob), abs=6e-5)  # four digits
    assert app.selectbox[0].options[0] == CLASS_NAMES[int(expected[0].argmax())]


def test_the_page(browser, films, random_weights, reference, tmp_path):
    pytest.importorskip("streamlit")
    real = SHARED / "sample" / "images" / "00001369_000.png"
    film = real if real.exists() else films[0]
    words = ["--resize", 144, "--crop-size", 128, "--weights", random_weights]
    words += ["--reference", reference]
    broken = tmp_path / "broken.png"
    broken.write_bytes(film.read_bytes()[:5000])
    with served(*words) as (url, process):
        browser.get("about:blank")
        requests_of(browser)
        browser.get(url)

        body = partial(text_of, browser)

        def inputs():
            return browser.find_elements("css selector", "input[type=file]")

        wait_for(inputs)[0].send_keys(str(broken))
        wait_for(
            lambda: "error: broken.png: want a complete PNG, JPEG, TIFF or DICOM film" in body()
        )
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
        cells = [[cell.text for cell in row.find_elements("css selector", "td")] for row in rows]
        heads = [cell.text for cell in browser.find_elements("css selector", "table thead th")]
        names = ["Decision", "Threshold", "Calibrated", "Base rate", "Above, of films without it"]
        assert heads == ["Finding", "Probability", *names, "Caution"]
        probs = [float(row[1]) for row in cells]
        assert probs == sorted(probs, reverse=True) and len(rows) == 14
        known = [row for row in cells if row[0] not in UNKNOWN]
        assert all(row[4] == row[1] for row in known)  # calibrated, by a line that changes nothing
        few = "by 2 films with it"
        assert {(*row[2:4], row[5], row[7]) for row in known} == {
            ("negative", "2.0000", "0.2500", few)
        }
        assert {tuple(row[2:]) for row in cells if row[0] in UNKNOWN} == {(*["–"] * 5, few)}
        assert "The reference values are not of this network: they are of other weights." in text
        assert (
            "No finding above its threshold (of the 11 that have one)." in text
            and "8 validation films of 7" in text
        )
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
    assert "none.pdparams: no such weight file" in error


def test_a_port_that_cannot_be_had_is_one_line(fails, random_weights):
    pytest.importorskip("streamlit")
    words = ["--serve", "--weights", random_weights, "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"--port {port}: cannot listen there (" in fails("predict.py", *words, port)
    assert "--port 99999: cannot listen there (" in fails("predict.py", *words, 99999)
