"""How fast the page of `export.py --format web` is, in a headless Chromium.

    python benchmarks/web_page.py exported/model_from_torch-web film.png more.png

serves the folder on 127.0.0.1, opens it with a new profile, and gives it the films: with the
threads that its service worker makes possible, and without the service worker, with one. It prints
a table and writes it to benchmarks/RESULTS.md. Needs selenium, chromium and chromedriver; Linux
alone.
"""

import contextlib
import functools
import http.server
import pathlib
import shutil
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from results_file import add_output_argument, machine, table, write_section

from runtime import command_line
from runtime.files import UserError, read_json

PATIENCE = 600  # seconds


def parse_args():
    parser = command_line.ArgumentParser(__doc__)
    parser.add_argument("page", metavar="FOLDER", help="what export.py --format web wrote")
    parser.add_argument("films", nargs="+", metavar="FILM")
    add_output_argument(parser)
    return parser.parse_args()


def main(args):
    settings = read_json(f"{args.page}/settings.json")
    if not settings:
        raise UserError(f"{args.page}: no page of export.py --format web in it")
    rows, browser = [], ""
    for name, withheld in (("threads", ()), ("one thread", ("/service_worker.js",))):
        print(f"{name} ...", file=sys.stderr)
        with served(args.page, withheld) as url, chromium() as driver:
            cold = load(driver, url)
            said = driver.find_element("id", "network").text
            first = look(driver, args.films[:1], 1)
            rest = look(driver, args.films[1:], len(args.films)) if args.films[1:] else first
            each = rest / max(len(args.films) - 1, 1)
            again = load(driver, url)
            browser = f"Chromium {driver.capabilities['browserVersion']}"
        opened = [f"{seconds:.1f} s" for seconds in (cold, again)]
        rows.append([said, *opened, *(f"{seconds:.2f} s" for seconds in (first, each))])
    size = sum(path.stat().st_size for path in pathlib.Path(args.page).rglob("*") if path.is_file())
    packages = {each["name"]: each["version"] for each in settings["packages"]}
    heads = ["network", "first opened", "opened again", "first film", "each further film"]
    write_section(
        f"# Results of `benchmarks/web_page.py`\n\n{machine()}. {browser}, headless, "
        f"onnxruntime-web {packages['onnxruntime-web']}, which has WebAssembly with SIMD alone. "
        f"{len(args.films)} films; ten crops of {settings['crop_size']} pixels of films of "
        f"{settings['resize']}. The folder has {size / 1e6:.1f} MB; the server is on the same "
        f"machine.\n\n{table(heads, rows)}",
        args.output,
    )


@contextlib.contextmanager
def served(folder, withheld):
    """Serve a folder on a free port but for some paths; yields its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            if self.path in withheld:
                self.send_error(404)
            else:
                super().do_GET()

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=folder)
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def chromium():
    """A headless Chromium with a new profile, driven by Selenium."""
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    try:
        from selenium import webdriver
    except ImportError:
        raise UserError("the package selenium is not installed; pip install selenium") from None
    if None in programs:
        raise UserError("chromium or chromedriver is not installed; install both")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        words = "headless=new no-sandbox disable-gpu no-first-run disable-background-networking "
        words += f"disable-component-update disable-sync disable-quic user-data-dir={folder}"
        for word in words.split():
            options.add_argument(f"--{word}")
        service = webdriver.chrome.service.Service(programs[1])
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield driver
        finally:
            driver.quit()


def load(driver, url):
    """Open the page; return the seconds until its network is ready."""
    start = time.perf_counter()
    driver.get(url)
    wait_for(driver, "The network is ready")
    return time.perf_counter() - start


def look(driver, films, count):
    """Give the page films, `count` with those before; return the seconds until all are done."""
    start = time.perf_counter()
    paths = [str(pathlib.Path(film).resolve()) for film in films]
    driver.find_element("id", "files").send_keys("\n".join(paths))
    wait_for(driver, f"{count} of {count} films done")
    return time.perf_counter() - start


def wait_for(driver, text):
    end = time.monotonic() + PATIENCE
    while text not in driver.execute_script("return document.body?.innerText ?? ''"):
        if time.monotonic() > end:
            raise UserError(f"the page did not say {text!r} in {PATIENCE} s; open it")
        time.sleep(0.02)


if __name__ == "__main__":
    command_line.run(main, parse_args())
