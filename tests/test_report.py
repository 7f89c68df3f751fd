"""The report of a real evaluation, of phantoms, in a real browser."""

import json
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from conftest import requests_of, tree
from PIL import Image

from dataset import CLASS_NAMES, LabelList, read_label_list
from evaluation.heat_maps import Example, choose_examples
from evaluation.measures import measure
from evaluation.report_page import write_report

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64, "--batch-size", 8, "--bootstrap", 20]
KINDS = ("age", "sex", "sex_and_age", "view")
BY_CLASS = ["auroc", "net_benefit", "precision_recall", "reliability", "roc"]
BY_CLASS += [f"subgroups_{kind}" for kind in KINDS]


@pytest.fixture(scope="module")
def report(script, phantoms, random_weights, once):
    """The output folder of an evaluation with everything in it, and what it said on stderr."""

    def make(folder):
        (folder / "stderr.txt").write_text(evaluate(script, phantoms, random_weights, folder))

    folder = once("report", make)
    return folder / "test", (folder / "stderr.txt").read_text()


def evaluate(script, phantoms, weights, folder):
    """Write an evaluation with everything to the folder `test`; return what it said on stderr."""
    test_list = folder / "test_list.txt"
    lines = (phantoms / "labels" / "test_list.txt").read_text().splitlines()
    test_list.write_text("\n".join(f"{line[:-1]}0" for line in lines))  # nobody has the last one
    names, _ = read_label_list(test_list)
    boxes = folder / "boxes.csv"
    lines = [f"{name},Mass,100,200,300,400" for name in names[:3]]
    lines += [f"{names[0]},Infiltrate,0,0,1024,1024", "somewhere_else.png,Mass,1,2,3,4"]
    boxes.write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n" + "\n".join(lines))
    entries = folder / "entries.csv"
    header = "Image Index,Finding Labels,Patient Age,Patient Gender,View Position\n"
    lines = [f"{name},Mass,{20 + n},{'MF'[n % 2]},PA" for n, name in enumerate(names)]
    entries.write_text(header + "\n".join(lines))
    data = ["--data-dir", phantoms, "--weights", weights, *SMALL]
    val_list = phantoms / "labels" / "val_list.txt"
    words = ["--test-list", val_list, "--output-dir", folder / "val", "--no-report"]
    assert script("eval.py", *data, *words).returncode == 0
    words = ["--boxes", boxes, "--data-entry", entries, "--output-dir", folder / "test"]
    words += ["--thresholds-from", folder / "val" / "predictions.csv", "--test-list", test_list]
    result = script("eval.py", *data, *words)
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_what_is_printed_beside_the_table(report):
    _, said = report
    assert "4 of the 5 boxes of " in said
    assert "heat maps against 4 boxes of " in said and "on 3 test films" in said
    # A box that is the whole film is always hit, also by chance.
    assert re.search(r"^  Infiltration +1  1\.000 \(1\.000\)", said, re.M)
    assert re.search(r"^  sex F  .* 6 films$", said, re.M)
    assert re.search(r"^  age 18-39  .* 12 films$", said, re.M)


def test_the_figures_are_in_metrics_json(report):
    metrics = json.loads((report[0] / "metrics.json").read_text())
    assert metrics["localization"]["films"] == 3
    place = metrics["localization"]["by_class"]
    assert list(place) == ["Infiltration", "Mass", "all"]
    assert [place[name]["boxes"] for name in place] == [1, 3, 4]
    assert place["Mass"]["pointing_by_chance"] == pytest.approx(300 * 400 / 1024**2)
    assert {kind: list(of) for kind, of in metrics["subgroups"].items()} == {
        "sex": ["F", "M"],
        "age": ["18-39"],
        "view": ["PA"],
        "sex and age": ["F 18-39", "M 18-39"],
    }
    # Twelve films are too few for any group's rates, and say so.
    assert metrics["subgroups"]["sex"]["F"]["too_few_positives"] == list(CLASS_NAMES)
    assert set(metrics["subgroups"]["sex"]["F"]["sensitivity"].values()) == {None}
    assert metrics["subgroups"]["age"]["18-39"]["auroc"] == metrics["auroc"]


def test_every_figure_is_a_png_and_an_svg(report):
    figures = report[0] / "figures"
    names = [*BY_CLASS, "called_healthy_though_ill"]
    assert tree(figures) == sorted(f"{name}.{form}" for name in names for form in ("png", "svg"))
    for name in BY_CLASS:
        with Image.open(figures / f"{name}.png") as image:
            assert min(image.size) >= 600
        texts = "".join(xml.etree.ElementTree.parse(figures / f"{name}.svg").getroot().itertext())
        assert all(finding in texts for finding in CLASS_NAMES)


def test_the_page_in_a_browser(report, browser):
    page = report[0] / "report.html"
    assert not re.search(r"(src|href)=[\"'](?!data:)", page.read_text())
    requests_of(browser), browser.get_log("browser")  # forget what was before
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    # Besides what is in the page itself, and in the browser.
    asked = [url for url in requests_of(browser) if not url.startswith(("data:", "chrome"))]
    assert asked == [page.as_uri()]
    # Every picture has been drawn, and says what it is.
    pictures = browser.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.alt, i.src.slice(0, 30)])"
    )
    assert len(pictures) >= 1 + 3 * 14 + 14
    assert all(width > 0 and alt for width, alt, _ in pictures)
    text = browser.execute_script("return document.body.innerText")
    for part in ("Not for clinical use", "By sex, age and view", "against radiologists' boxes"):
        assert part in text
    assert "Confidently wrong" in text and "At thresholds chosen on validation films" in text
    boxed = re.findall(
        r"for (\w+), with a radiologist's box", "\n".join(alt for _, alt, _ in pictures)
    )
    assert set(boxed) == {"Infiltration", "Mass"} and "Boxed: of each class" in text


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_a_screen_and_a_phone(report, browser, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((report[0] / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_click_on_a_heading_sorts(report, browser):
    browser.get((report[0] / "report.html").as_uri())
    table = browser.find_element("css selector", "table.sortable")

    def column(number):
        cells = table.find_elements("css selector", f"tbody td:nth-child({number})")
        return [cell.get_property("textContent") for cell in cells]

    metrics = json.loads((report[0] / "metrics.json").read_text())
    values = [metrics["auroc"][name] for name in CLASS_NAMES]
    shown = [f"{value:.4f}" for value in sorted(v for v in values if v is not None)]
    undefined = ["nan"] * values.count(None)
    assert undefined and len(shown) > 2  # of 12 films
    assert column(1) == list(CLASS_NAMES)
    classes, _, auroc = table.find_elements("css selector", "th button")[:3]
    auroc.click()
    assert column(3) == shown[::-1] + undefined
    assert column(1) != list(CLASS_NAMES)
    auroc.click()
    assert column(3) == shown + undefined  # nan last either way
    classes.send_keys("\n")  # by keyboard
    assert column(1) == sorted(CLASS_NAMES, key=str.lower)
    sorted_by = table.find_elements("css selector", "th[aria-sort]")
    assert [heading.text.split()[0] for heading in sorted_by] == ["Class"]


def test_examples_are_the_likeliest_of_their_kind():
    labels = np.zeros((4, 14), np.uint8)
    labels[[0, 1], 0] = 1
    labels[:, 1] = 1
    probs = np.tile(np.array([[0.1], [0.4], [0.3], [0.2]]), 14)
    chosen = choose_examples(labels, probs, [(3, 1), (2, 1), (0, 5)])
    # The second class has no film without it, the others none with it.
    assert chosen[:2] == [("right", 1, 0), ("right", 1, 1)]
    assert chosen[2:4] == [("wrong", 2, 0), ("wrong", 1, 2)]
    assert chosen[2 + 13 :] == [("boxed", 2, 1), ("boxed", 0, 5)]


def test_names_cannot_bring_markup_into_the_page(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (9, 14), np.uint8)
    probs = rng.random((9, 14))
    names = [f"<img src=x onerror=alert({n})>_0.png" for n in range(9)]
    metrics = measure(names, labels, probs, resamples=0)  # each its own patient
    example = Example("right", 0, 0, np.zeros((32, 32), np.uint8), np.eye(4), [])
    write_report(tmp_path, metrics, LabelList(names, labels, names), probs, [example])
    text = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(0)&gt;" in text and "<img src=x" not in text
