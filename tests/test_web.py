"""export.py --format web: the page in Node, and in a real browser."""

import contextlib
import http.server
import json
import os
import shutil
import subprocess
import threading
from functools import partial

import numpy as np
import pytest
from helpers import web_pages  # noqa: F401 - it skips where no page can be made
from helpers.film_files import PERSON, by_gdcm, dicom, grey, picture
from helpers.folders import tree
from helpers.pages import has_text, requests_begun_by, requests_of, text_of
from helpers.places import MAP_SIZES
from helpers.processes import memory_below, wait_for
from PIL import Image
from pydicom import uid

from evaluation.operating_points import meanings
from films.label_lists import CLASS_NAMES
from web.site_folder import write_files_js

pytestmark = pytest.mark.slow


@pytest.fixture
def site(page, tmp_path):
    """A page's folder that may be changed."""
    return shutil.copytree(page, tmp_path / "site")


@pytest.fixture
def website(site):
    """The page on a server on 127.0.0.1: its address, what it was asked for, and the server.

    `server.headers` are sent with every file; `server.lets_go` may hold the service worker back.
    """
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=site)

        def end_headers(self):
            for name, value in self.server.headers.items():
                self.send_header(name, value)
            super().end_headers()

        def do_GET(self):
            if "service_worker" in self.path:
                self.server.lets_go.wait()
            super().do_GET()

        def log_message(self, form, *arguments):
            asked.append((self.path, self.headers["Host"]))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.headers, server.lets_go = {}, threading.Event()
    server.lets_go.set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", asked, server
    server.shutdown()
    server.server_close()


@pytest.fixture
def opened(website, browser):
    """The page in Chromium, with the network loaded; `opened(film, ...)` gives it films."""
    url, asked, server = website
    browser.get("about:blank")
    requests_of(browser)
    browser.get_log("browser")
    browser.set_window_size(1280, 900)

    def give(*films):
        browser.find_element("id", "files").send_keys("\n".join(map(str, films)))

    give.url, give.asked, give.server, give.text = url, asked, server, partial(text_of, browser)
    browser.get(f"{url}index.html")
    wait_for(lambda: "The network is ready" in give.text())
    return give


def test_the_page_predicts_what_eval_predicts(
    browser, opened, page, known, predicted_on_cpu, tmp_path
):
    films, expected = predicted_on_cpu
    inverted = tmp_path / "inverted.dcm"
    with Image.open(films[0]) as image:
        inverted.write_bytes(dicom(255 - np.asarray(image.convert("L"))))
    broken, colour, pdf = (tmp_path / name for name in ("broken.png", "colour.png", "a.dcm"))
    broken.write_bytes(films[0].read_bytes()[:5000])
    colour.write_bytes(picture(np.dstack([grey(), grey(), grey()[::-1]]), "PNG"))
    pdf.write_bytes(b"%PDF-1.4\n" + b"0" * 2000)
    long = tmp_path / f"{'1.2.840.113619' * 6}.dcm"
    shutil.copy(pdf, long)
    opened(broken, colour, films[0], pdf, inverted, films[1], long)
    wait_for(lambda: "7 of 7 films done, 4 of them failed, 1 to look at first" in opened.text())
    details = browser.find_elements("css selector", "details")
    summaries = [each.text for each in browser.find_elements("css selector", "summary")]
    assert [name for name in summaries if name.endswith("failed")] == [
        f"{path.name} failed" for path in (broken, colour, pdf, long)
    ]
    # A film that fails says why.
    problems = ("want a complete PNG film", "want a grey film", "want a PNG, JPEG or DICOM film")
    for n, problem in zip((0, 1, 3), problems, strict=True):
        open_details(browser, details[n])
        assert problem in details[n].text
    assert "Traceback" not in opened.text()
    assert not [value for value in PERSON.values() if value in browser.page_source]
    open_details(browser, details[4])  # the DICOM film
    assert "inverted.dcm, and where the network looks for" in details[4].text
    assert not [value for value in PERSON.values() if value in browser.page_source]
    with open(known / "operating_points.json") as file:
        values = json.load(file)
    for n, row in ((2, expected[0]), (5, expected[1])):
        open_details(browser, details[n])
        rows = details[n].find_elements("css selector", "tbody tr")
        order = [CLASS_NAMES[c] for c in np.argsort(-row, kind="stable")]
        assert [each.get_attribute("data-finding") for each in rows] == order
        facts = meanings(row, values=values)
        for name, element in zip(order, rows, strict=True):
            meant, prob = facts[name], row[CLASS_NAMES.index(name)]
            shown = [cell.text for cell in element.find_elements("css selector", "td")]
            above = "–" if meant.above is None else f"{meant.above} %"
            threshold = f"{meant.threshold:.4f}".replace("nan", "–")
            numbers = meant.calibrated, meant.base_rate
            calibrated = [f"{number:.4f}".replace("nan", "–") for number in numbers]
            assert meant.caution() == "caution: by 2 films with it"
            decision = f"{meant.decision(prob)} *".strip()
            assert [*shown[1:3], *shown[4:]] == [decision, threshold, calibrated[1], above], name
            assert float(shown[0]) == pytest.approx(prob, abs=6e-5)
            assert shown[3] == calibrated[0] or abs(float(shown[3]) - meant.calibrated) < 2e-4
        assert "* Caution: by few validation films with it: Atelectasis 2, " in details[n].text
        assert "These films are: cartoons" in details[n].text
        canvases = details[n].find_elements("css selector", ".picture canvas")
        assert [each.get_property("width") for each in canvases] == [1024, 1024]
    # Another finding, another opacity.
    before = browser.execute_script("return document.querySelector('.map').toDataURL()")
    browser.execute_script(
        "const s = document.querySelector('select'); s.value = s.options[13].value;"
        "s.dispatchEvent(new Event('change'));"
        "const r = document.querySelector('input[type=range]'); r.value = 0.2;"
        "r.dispatchEvent(new Event('input'));"
    )
    assert browser.execute_script("return document.querySelector('.map').toDataURL()") != before
    shown = "return getComputedStyle(document.querySelector('.map')).opacity"
    assert browser.execute_script(shown) == "0.2"
    chosen = browser.find_elements("css selector", "tr.chosen")
    assert [row.get_attribute("data-finding") for row in chosen] == [order[13]]
    text = opened.text()
    assert sha256_of(page) in text and "Not for clinical use" in text
    assert "Mean test AUROC 0.666 (95 % interval 0.643 to 0.689), over 13 classes" in text
    assert text.count("These films are: cartoons") == 2  # in the film that is open, and below
    assert "on 774 films of 678 patients" in text
    # It fits a telephone, and speaks Chinese.
    for width, n in ((390, 5), (390, 6), (1280, 6), (1280, 5)):
        open_details(browser, details[n])
        browser.set_window_size(width, 900)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= browser.execute_script("return window.innerWidth")
    browser.find_element("css selector", "[data-language=zh]").click()
    assert "不得用于临床" in opened.text() and "肺不张" in opened.text()
    assert browser.execute_script("return document.documentElement.lang") == "zh-Hans"
    browser.find_element("css selector", "[data-language=en]").click()
    messages = [entry["message"] for entry in browser.get_log("browser")]
    assert messages == []
    check_requests(browser, opened)


def sha256_of(page):
    with open(page / "settings.json") as file:
        return json.load(file)["network"]["sha256"]


def open_details(browser, element):
    if not element.get_property("open"):
        element.find_element("css selector", "summary").click()
    wait_for(lambda: element.find_elements("css selector", ".body"))


def check_requests(browser, opened):
    """The page and its workers have asked for the folder's own files, and for nothing else."""
    asked = [a for a in requests_of(browser) if not a.startswith(("data:", "chrome", "blob:"))]
    assert asked and all(address.startswith(opened.url) for address in asked)
    begun = requests_begun_by(browser, opened.url.rstrip("/"))
    assert {f"{opened.url}{name}" for name in ("worker.js", "settings.json")} <= begun
    assert all(address.startswith(opened.url) for address in begun)


def test_the_page_works_without_its_server(browser, opened, predicted_on_cpu):
    films, expected = predicted_on_cpu
    assert browser.execute_script("return window.crossOriginIsolated")  # by the service worker
    large = [path for path, _ in opened.asked if path.endswith((".onnx", ".wasm"))]
    assert len(large) == len(set(large)) == 3  # each crossed once
    opened.server.shutdown()
    opened.server.server_close()
    browser.get(f"{opened.url}index.html")  # refresh() passes service workers by, as Shift does
    wait_for(lambda: "The network is ready" in opened.text())
    opened(films[0])
    wait_for(lambda: "1 of 1 films done" in opened.text())
    cells = browser.find_elements("css selector", "tbody tr td:nth-child(2)")
    shown = [float(each.text) for each in cells]
    np.testing.assert_allclose(shown, sorted(expected[0], reverse=True), atol=6e-5)
    assert browser.execute_script("return window.crossOriginIsolated")


def test_the_page_predicts_the_same_in_firefox(firefox, website, predicted_on_cpu, tmp_path):
    films, expected = predicted_on_cpu
    url, asked, _ = website
    compressed = tmp_path / "compressed.dcm"
    with Image.open(films[1]) as image:
        compressed.write_bytes(dicom(np.asarray(image.convert("L")), uid.JPEG2000Lossless))
    firefox.get(url)
    wait_for(lambda: "The network is ready (one thread)" in firefox.text())
    firefox.give("files", films[0], compressed)
    wait_for(lambda: "2 of 2 films done" in firefox.text())
    cells = "document.querySelectorAll('details')[{}].querySelectorAll('td:nth-child(2)')"
    for n, row in enumerate(expected):
        texts = f"Array.from({cells.format(n)}, (cell) => cell.innerText)"
        if n:  # the first is open
            firefox.value(f"document.querySelectorAll('summary')[{n}].click()")
        wait_for(partial(firefox.value, texts), 30)
        shown = np.array(firefox.value(texts), float)
        np.testing.assert_allclose(shown, sorted(row, reverse=True), atol=6e-5)
    large = [path for path, _ in asked if path.endswith((".onnx", ".wasm"))]
    assert len(large) == len(set(large)) == 4  # each crossed once


def test_a_decoder_is_loaded_with_the_first_film_that_needs_it(browser, opened, tmp_path):
    pixels = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    names = ("plain", "jpeg_2000", "jpeg_ls")
    plain, jpeg_2000, jpeg_ls = (tmp_path / f"{name}.dcm" for name in names)
    plain.write_bytes(dicom(pixels))
    jpeg_2000.write_bytes(dicom(pixels, uid.JPEG2000Lossless))
    jpeg_ls.write_bytes(by_gdcm(dicom(pixels), "JPEGLSLossless", tmp_path))

    def decoders():
        return [path[1:9] for path, _ in opened.asked if path.startswith(("/openjpeg", "/charls"))]

    opened(plain)
    wait_for(lambda: "1 of 1 films done" in opened.text())
    assert decoders() == []
    opened(jpeg_2000, jpeg_2000)
    wait_for(lambda: "3 of 3 films done" in opened.text())
    assert decoders() == ["openjpeg"] and "failed" not in opened.text()
    opened.server.shutdown()
    opened.server.server_close()
    browser.get(f"{opened.url}index.html")
    wait_for(lambda: "The network is ready" in opened.text())
    opened(jpeg_ls, jpeg_2000)
    wait_for(lambda: "2 of 2 films done, 1 of them failed" in opened.text())
    failed = browser.find_element("css selector", "details")
    open_details(browser, failed)
    assert "what decodes this kind of film could not be loaded" in failed.text


def test_a_host_that_sends_the_headers_needs_no_service_worker_for_them(browser, website):
    url, asked, server = website
    server.headers = {
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Embedder-Policy": "require-corp",
        "Cache-Control": "no-cache",
    }
    is_ready = partial(has_text, browser, "The network is ready")
    browser.get(url)
    wait_for(is_ready)
    assert browser.execute_script("return window.crossOriginIsolated")
    assert [path for path, _ in asked].count("/") == 1  # it was not loaded again
    wait_for(lambda: browser.execute_script("return navigator.serviceWorker.controller !== null"))
    server.shutdown()
    server.server_close()
    browser.get(url)
    wait_for(is_ready)


def test_a_film_that_is_given_before_the_page_loads_itself_again_is_not_lost(
    browser, website, predicted_on_cpu
):
    url, _, server = website
    server.lets_go.clear()
    browser.get(url)
    browser.find_element("id", "files").send_keys(str(predicted_on_cpu[0][0]))
    server.lets_go.set()
    wait_for(partial(has_text, browser, "1 of 1 films done"))
    assert has_text(browser, "The network is ready (one thread)")
    browser.get(url)
    wait_for(partial(has_text, browser, "The network is ready"))
    assert browser.execute_script("return window.crossOriginIsolated")


# A page that is slow to hear of its new service worker, as on busy cores: it is active by then.
SLOW = """
const { update } = ServiceWorkerRegistration.prototype;
ServiceWorkerRegistration.prototype.update = async function () {
  await update.call(this);
  while (this.installing || this.waiting) await new Promise((done) => setTimeout(done, 10));
};
"""


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_new_export_to_the_same_address_comes_whole(is_slow, browser, opened, site):
    words = site / "words.js"
    words.write_text(words.read_text().replace("The network is ready", "The NETWORK is ready"))
    page_script = site / "page.js"
    page_script.write_text(page_script.read_text().replace('"ready"', '"prepared"'))
    words.write_text(words.read_text().replace(" ready:", " prepared:"))
    for path in (words, page_script):
        os.utime(path, (1e9, 1e9))  # of 2001: a browser would keep such files for months
    write_files_js(site)
    with scripts_before(browser, SLOW if is_slow else ""):
        browser.get(f"{opened.url}index.html")
        wait_for(partial(has_text, browser, "The NETWORK is ready"), 60)
    assert len([path for path, _ in opened.asked if path.endswith(".onnx")]) == 1
    assert [each["level"] for each in browser.get_log("browser")] == []


@contextlib.contextmanager
def scripts_before(browser, text):
    """Have Chromium run a script in each page before the page's own."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": text})
    yield
    browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


def test_a_start_that_does_not_end_is_begun_again_with_one_thread(
    browser, website, site, predicted_on_cpu
):
    """As with several threads in Firefox on busy cores, now and then."""
    changes = {
        "threads.js": ("export async function measureThreads() {", "  return 2;"),
        "predictor.js": (
            "threads, fetchFile) {",
            "    if (threads > 1) await new Promise(() => {});",
        ),
    }
    for name, (line, more) in changes.items():
        text = (site / name).read_text()
        assert text.count(line) == 1
        (site / name).write_text(text.replace(line, f"{line}\n{more}"))
    write_files_js(site)
    browser.get("about:blank")
    browser.get(f"{website[0]}index.html")
    wait_for(partial(has_text, browser, "Choose files"))
    # A film that is given meanwhile is not lost.
    browser.find_element("id", "files").send_keys(str(predicted_on_cpu[0][0]))
    wait_for(partial(has_text, browser, "The network is ready (one thread)"))
    wait_for(partial(has_text, browser, "1 of 1 films done"))


def test_a_network_that_is_cut_off_is_told_and_asked_for_again(
    browser, website, site, predicted_on_cpu
):
    url, *_ = website
    (network,) = site.glob("network-*.onnx")
    whole = network.read_bytes()
    network.write_bytes(whole[:1000])
    browser.get(url)
    wait_for(partial(has_text, browser, "The network could not be loaded: Error: network-"))
    assert not browser.find_element("id", "drop").is_displayed()
    # A film that is given all the same is answered.
    browser.find_element("id", "files").send_keys(str(predicted_on_cpu[0][0]))
    wait_for(partial(has_text, browser, "the network is not there; reload the page"))
    # Of the same second it would be "304 Not Modified": that is all that HTTP tells of times.
    later = network.stat().st_mtime + 2
    network.write_bytes(whole)
    os.utime(network, (later, later))
    browser.get(url)
    wait_for(partial(has_text, browser, "The network is ready"))
    browser.get_log("browser")  # of the failure


def test_another_site_at_the_same_address_is_not_hidden(browser, opened, site):
    (site / "index.html").write_text("<!doctype html><title>other</title><p>Another site</p>")
    for _ in range(2):
        browser.get(f"{opened.url}index.html")
        assert has_text(browser, "Another site")


def test_a_page_below_another_that_cannot_be_kept_is_not_loaded_without_end(browser, opened, site):
    below = shutil.copytree(site, site / "below")
    files = (below / "files.js").read_text()
    (below / "files.js").write_text(files.replace('"codecs.js"', '"codecs.js", "missing.js"'))
    browser.get(f"{opened.url}below/index.html")
    wait_for(partial(has_text, browser, "The network is ready (one thread)"))
    browser.get_log("browser")  # of the missing file


def test_eight_films_in_a_row_take_no_more_memory(browser, opened, phantoms):
    films = sorted((phantoms / "images").iterdir())[:8]
    used = []
    for start, end in ((0, 3), (3, 8)):
        opened(*films[start:end])
        wait_for(lambda end=end: f"{end} of {end} films done" in opened.text())
        browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        used.append(memory_below(browser.service.process.pid))
    print(f"{used[0] / 2**20:.0f} MiB after 3 films, {used[1] / 2**20:.0f} MiB after 8")

    def is_flat():
        browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        # 1 MiB each for the film's picture; its two canvases alone would be 8.
        return memory_below(browser.service.process.pid) - used[0] < 5 * 4 * 2**20

    wait_for(is_flat, 60)  # the browser gives memory back when it likes


def test_what_cannot_be_exported_is_one_line(
    fails, script, predicted_on_cpu, random_weights, known, tmp_path
):
    (film, _), _ = predicted_on_cpu
    words = [film, "--weights", random_weights, "--output-dir", tmp_path / "out", *MAP_SIZES]
    web = [*words, "--format", "web"]
    metrics = json.loads((known / "metrics.json").read_text())
    other = tmp_path / "metrics.json"
    other.write_text(json.dumps(metrics | {"weights": {"sha256": "ab"}}))
    assert "but they are of other weights" in fails("export.py", *web, "--metrics", other)
    other.write_text(json.dumps(metrics | {"resize": 256}))
    assert "but they are of --resize 256" in fails("export.py", *web, "--metrics", other)
    other.write_text("[]")
    assert "not a metrics.json of eval.py" in fails("export.py", *web, "--metrics", other)
    for whose in (None, "x"):
        other.write_text(json.dumps(metrics | {"weights": whose}))
        assert "does not say whose they are" in fails("export.py", *web, "--metrics", other)
    other.write_text(json.dumps(metrics | {"auroc_mean_95_percent": ["low", 1]}))
    assert "not a metrics.json of eval.py" in fails("export.py", *web, "--metrics", other)
    error = fails("export.py", *web, env={**os.environ, "PATH": str(tmp_path)})
    assert "npm, which fetches ONNX Runtime, is not installed; install Node.js" in error
    assert tree(tmp_path / "out") == []
    (tmp_path / "out" / "random-web").mkdir()
    (tmp_path / "out" / "random-web" / "mine.txt").touch()
    assert "mine.txt in it was not written by export.py" in fails("export.py", *web)
    result = script("export.py", *words, "--format", "onnx", "--metrics", other)
    assert result.returncode == 2 and "go with --format web" in result.stderr
    assert tree(tmp_path / "out") == ["random-web", "random-web/mine.txt"]


@pytest.mark.rare
def test_the_benchmark_times_the_page(browser, script, page, predicted_on_cpu, tmp_path):
    films, _ = predicted_on_cpu  # `browser`: there is one
    words = [page, *films, "--output", tmp_path / "results.md"]
    result = script("benchmarks/web_page.py", *words)
    assert result.returncode == 0, result.stderr
    rows = [line for line in (tmp_path / "results.md").read_text().splitlines() if "ready" in line]
    assert "(one thread)" in rows[1]  # of the first the page decides itself
    for row in rows:
        assert all(0 < float(cell.removesuffix(" s")) < 600 for cell in row.split(" | ")[1:4])


def test_threads_are_as_many_as_count_at_full_speed(browser, opened, page):
    # How far four count together where one counts to 100: on four cores, on two of which a browser
    # claims four, on two with two threads each, on one.
    counts = [390, 200, 260, 100]
    script = f"import {{ threadsFor }} from '{page / 'threads.js'}';"
    script += f"for (const some of {counts}) console.log(threadsFor(100, some, 4));"
    command = ["node", "--input-type=module", "--eval", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.split() == ["4", "2", "2", "1"]
    browser.execute_cdp_cmd("Emulation.setHardwareConcurrencyOverride", {"hardwareConcurrency": 64})
    threads = browser.execute_async_script(
        "const done = arguments[0];"
        "import('./threads.js').then((x) => x.measureThreads()).then(done, (e) => done(String(e)));"
    )
    browser.execute_cdp_cmd(
        "Emulation.setHardwareConcurrencyOverride", {"hardwareConcurrency": os.cpu_count()}
    )
    print(f"{threads} threads where a browser claims 64")
    assert 1 <= threads <= 4


def test_policies_of_page_and_service_worker_agree(page):
    html, worker = ((page / name).read_text() for name in ("index.html", "service_worker.js"))
    policy = html.partition('content="default-src')[2].partition('"')[0]
    assert f'"default-src{policy}"' in worker and "http" not in policy
