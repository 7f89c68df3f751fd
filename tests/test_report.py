"""The report of a real evaluation, of phantoms, in a real browser."""

import base64
import csv
import io
import json
import re
import xml.etree.ElementTree

import numpy as np
import pytest
from helpers.folders import tree
from helpers.pages import requests_of, text_of
from matplotlib.figure import Figure
from PIL import Image

from evaluation.eval_folder import describe_data
from evaluation.figures import measure, participant_flow
from evaluation.heat_maps import Example, choose_examples, rank
from evaluation.report_plots import _draw_dots, _draw_precision_recall, _draw_roc
from evaluation.reports import write_report
from films.label_lists import CLASS_NAMES, LabelList, read_label_list
from metrics import average_precision
from runtime.files import UserError

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64, "--batch-size", 8]
KINDS = ("age", "sex", "sex_and_age", "view")
BY_CLASS = ["auroc", "average_precision", "net_benefit", "precision_recall", "reliability", "roc"]
BY_CLASS += [f"subgroups_{kind}" for kind in KINDS]


@pytest.mark.parametrize("positives", [40, 3000])
def test_the_area_under_a_drawn_precision_recall_curve_is_the_average_precision(positives):
    rng = np.random.default_rng(positives)
    labels = np.zeros(20_000)
    labels[:positives] = 1
    probs = rng.normal(size=20_000) + 1.5 * labels
    average = average_precision(labels, probs)
    figure = Figure()
    axes, metrics = figure.subplots(), {"average_precision": np.full(14, average)}
    _draw_precision_recall(axes, metrics, CLASS_NAMES.index("Mass"), labels, probs, None)
    recall, precision = axes.lines[-1].get_data()
    assert len(recall) <= 201 and axes.lines[-1].get_drawstyle() == "steps-pre"
    assert (np.diff(recall) * precision[1:]).sum() == pytest.approx(average, abs=2e-3)


def test_a_drawn_roc_curve_keeps_its_steep_beginning():
    labels = np.repeat([1, 0], [50, 20_000])
    axes, probs = Figure().subplots(), np.linspace(1, 0, 20_050)  # the first 50 are those with it
    _draw_roc(axes, {"auroc": np.ones(14)}, CLASS_NAMES.index("Mass"), labels, probs, None)
    false, true = axes.lines[-1].get_data()
    assert np.interp(1e-4, false, true) > 0.99 and len(false) <= 201


def test_a_class_without_an_auroc_has_its_row_too():
    axes = Figure().subplots()
    metrics = {"auroc": np.append(np.full(13, 0.7), np.nan), "labelled": np.full(14, 9)}
    _draw_dots(axes, metrics, "auroc")
    bottom, top = axes.get_ylim()
    assert top <= -0.5 and bottom >= 13.5  # rows 0 to 13, half a row of room on either side


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
    assert re.search(r"^  Infiltration +1 +1\.000 \(1\.000\)", said, re.M)
    assert re.search(r"^  sex F  .*  6$", said, re.M)
    assert re.search(r"^  age 18-39  .*  12$", said, re.M)
    assert re.search(r"^ +network  view AP  sex M  age$", said, re.M)


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
    # All are PA and of one age, and so say nothing; the sexes do, and there is no follow-up.
    found = metrics["auroc_without_films"]
    assert list(found) == ["view AP", "sex M", "age"]
    defined = {value for value in found["view AP"].values() if value is not None}
    assert defined == {0.5}


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
    assert not re.search(r"(src|href)=[\"'](?!data:|#)", page.read_text())
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
    assert len(pictures) >= 2 + 4 * 14
    assert all(width > 0 and alt for width, alt, _ in pictures)
    text = text_of(browser)
    for part in ("Not for clinical use", "By sex, age and view", "against radiologists' boxes"):
        assert part in text
    assert "At thresholds chosen on validation films" in text
    assert "None: at crops of 64 pixels a map has 2 x 2 values, too few to say where" in text
    # What it says of the films is what their folder says, and nothing else.
    assert "The films: synthetic chest phantoms, drawn by demo/phantoms.py" in text
    # The phantoms 15 to 19 are tested; thresholds are from 12 to 14.
    assert "In the test list\n12 films of 5 patients" in text
    assert "without Hernia: no film with it" in text and "8 films of 3 patients" in text
    assert not re.search("NIH|ChestX-ray14|published", text)
    assert "published" not in (report[0] / "figures" / "auroc.svg").read_text()
    # Every entry of the contents is there, and all sections of the page are in them.
    linked = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => a.getAttribute('href').slice(1))"
    )
    assert linked == browser.execute_script(
        "return [...document.querySelectorAll('h2')].map(h => h.id)"
    )


def test_the_model_card_says_what_the_films_are(report):
    text = (report[0] / "model_card.md").read_text()
    assert "synthetic chest phantoms, drawn by demo/phantoms.py" in text
    assert not re.search("NIH|ChestX-ray14", text)
    assert "| thresholds chosen on | 8 films of 3 patients, none of whom is tested |" in text
    metrics = json.loads((report[0] / "metrics.json").read_text())
    assert metrics["weights"]["sha256"] in text and "10 crops of 64 pixels" in text


def test_a_table_as_csv(report, browser):
    browser.get((report[0] / "report.html").as_uri())
    text = browser.execute_script("return csv(document.querySelector('table.sortable'))")
    header, *rows = csv.reader(io.StringIO(text))
    assert header[:4] == ["Class", "AUROC", "AUROC low", "AUROC high"]
    assert header[7:9] == ["Positive films", "Prevalence"]
    assert [row[0] for row in rows] == [*CLASS_NAMES, "Mean"]
    metrics = json.loads((report[0] / "metrics.json").read_text())
    bounds = [metrics["auroc_mean"], *metrics["auroc_mean_95_percent"]]
    assert rows[-1][1:4] == [f"{value:.4f}" for value in bounds]
    buttons = browser.find_elements("css selector", "button.save")
    assert len(buttons) == len(browser.find_elements("css selector", "table"))


def test_a_print_on_a4_cuts_nothing_off(report, browser):
    width = 703  # 210 mm less two margins of 12 mm, at 96 pixels an inch
    metrics = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get((report[0] / "report.html").as_uri())
    widest = "return Math.max(...[...document.querySelectorAll('*')].map(e => e.scrollWidth))"
    assert browser.execute_script(widest) <= width
    assert not browser.find_element("css selector", "nav").is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"]
    assert base64.b64decode(printed).startswith(b"%PDF")


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
        return [cell.get_property("textContent").split()[0] for cell in cells]

    metrics = json.loads((report[0] / "metrics.json").read_text())
    values = [metrics["auroc"][name] for name in CLASS_NAMES]
    shown = [f"{value:.4f}" for value in sorted(v for v in values if v is not None)]
    undefined = ["nan"] * values.count(None)
    assert undefined and len(shown) > 2  # of 12 films
    assert column(1) == list(CLASS_NAMES)
    classes, auroc = table.find_elements("css selector", "th button")[:2]
    auroc.click()
    assert column(2) == shown[::-1] + undefined
    assert column(1) != list(CLASS_NAMES)
    auroc.click()
    assert column(2) == shown + undefined  # nan last either way
    classes.send_keys("\n")  # by keyboard
    assert column(1) == sorted(CLASS_NAMES, key=str.lower)
    sorted_by = table.find_elements("css selector", "th[aria-sort]")
    assert [heading.text.split()[0] for heading in sorted_by] == ["Class"]


def test_examples_are_the_likeliest_films_that_are_left():
    labels = np.zeros((4, 14), np.uint8)
    labels[[0, 1], 0] = 1
    labels[:, 1] = 1
    probs = np.tile(np.array([[0.1], [0.4], [0.3], [0.2]]), 14)
    chosen = choose_examples(labels, probs, [(3, 1), (2, 1), (0, 5)])
    # The class with fewer films chooses first; nobody has the other twelve.
    assert chosen[:2] == [("with", 1, 0), ("with", 2, 1)]
    # Four films for 13 classes: the first class has two films to choose from, and is the first.
    assert chosen[2:6] == [("without", n, c) for n, c in ((1, 2), (2, 0), (3, 3), (0, 4))]
    assert chosen[6:] == [("boxed", 2, 1), ("boxed", 0, 5)]
    assert [rank(probs, film, 0) for film in range(4)] == [4, 1, 2, 3]


@pytest.mark.parametrize("known", ["NIH", "reference"])
def test_published_figures_are_beside_the_same_films_alone(tmp_path, known):
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 2, (9, 14), np.uint8), rng.random((9, 14))
    labels[:, -1] = 0  # nobody has the last one
    names = [f"{n:08}_000.png" for n in range(9)]
    metrics = measure(labels, probs, names, with_intervals=False)
    metrics["data"] = {"source": None, "list": known}
    listed = LabelList(names, labels, names)
    metrics["flow"] = participant_flow(listed, probs, LabelList(names[:1], labels[:1], names[:1]))
    film, activation = np.zeros((32, 32), np.uint8), np.eye(4)
    examples = [Example("boxed", 3, 4, film, activation, [(1, 2, 8, 9)])]
    write_report(tmp_path, metrics, listed, probs, examples)
    text = (tmp_path / "report.html").read_text()
    svg = (tmp_path / "figures" / "auroc.svg").read_text()
    assert ("0.848</td>" in text) == ("Yao" in text) == (known == "reference")
    assert ("CheXNet (published)" in svg) == (known == "reference")
    assert "NIH Clinical Center" in text
    place = (-probs[:, 4]).argsort().tolist().index(3) + 1
    assert f"<strong>Mass</strong>, probability {probs[3, 4]:.3f}, rank {place} of 9" in text
    assert "for Mass, with a radiologist's box" in text
    flow = " ".join(text.split())
    assert "<strong>In the test list</strong><br>9 films of 9 patients<" in flow
    assert "13 of 14 <br>without Hernia: no film with it</li>" in flow
    assert "<strong>Thresholds chosen on</strong><br>1 film of 1 patient, none" in flow


def describe(path, folder):
    return describe_data(path, read_label_list(path)[0], folder)


def test_what_is_known_of_a_list(tmp_path, shared):
    reference = shared / "labels" / "test_list.txt"
    assert describe(reference, tmp_path) == {"source": None, "list": "reference"}
    text = reference.read_text()
    changed = tmp_path / "test_list.txt"
    changed.write_text(text[:-1] + "10"[int(text[-1])])
    assert describe(changed, tmp_path) == {"source": None, "list": None}
    # NIH's own: what its training list leaves out.
    theirs = set((shared / "labels" / "official_train_val_list.txt").read_text().split())
    lines = [(shared / "labels" / f"{part}_list.txt").read_text() for part in ("train", "val")]
    lines = [line for line in "\n".join([*lines, text]).splitlines() if line]
    changed.write_text("\n".join(line for line in lines if line.split()[0] not in theirs))
    assert describe(changed, tmp_path) == {"source": None, "list": "NIH"}
    # A folder's own words are taken at them.
    (tmp_path / "SOURCE.txt").write_text("films of\n our own")
    assert describe(reference, tmp_path) == {"source": "films of our own", "list": None}
    (tmp_path / "SOURCE.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"SOURCE\.txt: want up to 1000 characters of text"):
        describe(reference, tmp_path)


def test_names_cannot_bring_markup_into_the_page(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (9, 14), np.uint8)
    probs = rng.random((9, 14))
    names = [f"<img src=x onerror=alert({n})>_0.png" for n in range(9)]
    metrics = measure(labels, probs, names, with_intervals=False)  # each its own patient
    example = Example("with", 0, 0, np.zeros((32, 32), np.uint8), np.eye(4), [])
    write_report(tmp_path, metrics, LabelList(names, labels, names), probs, [example])
    text = (tmp_path / "report.html").read_text()
    assert "&lt;img src=x onerror=alert(0)&gt;" in text and "<img src=x" not in text
