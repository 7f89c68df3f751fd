"""Shared by all tests: a small phantom data set, the scripts as real processes, the real films."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
from functools import partial

import pytest
from filelock import FileLock
from helpers.forked import Server
from helpers.places import MAP_SIZES, ROOT, SHARED
from helpers.processes import can_run

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "standin")]

# Tests take turns on the cores: threads that are done sleep at once, not after spinning for 0.2 s.
os.environ.setdefault("KMP_BLOCKTIME", "0")
# One thread each, as several run at a time; and the bits of a sum depend on the number of threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Their processes keep memory instead of giving it back and asking for it again: a third of the
# time of a short training.
os.environ.setdefault("MALLOC_MMAP_MAX_", "0")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "-1")

from runtime import environment  # before Paddle

if environment.has_gpu():  # tests compute on the CPU, or bring a device of their own
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

# Files whose tests wait for processes longest.
LONGEST = ("test_bench", "test_commands", "test_distributed", "test_reproduce", "test_resume")


def pytest_collection_modifyitems(items):
    """Begin with the longest tests, so that in the end no worker is left alone with some."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """A folder that all workers of pytest-xdist look into: `once("phantoms", make)` -> its path.

    The first that asks has it filled by `make(folder)`; the others wait. Nobody may change it.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder_of(name, make):
        folder, done = root / "once" / name, root / "once" / f"{name}.done"
        folder.parent.mkdir(exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of one that failed
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return folder_of


@pytest.fixture(scope="session")
def shared():
    """The folder of real films, labels and weights, where this machine has it."""
    if not (SHARED / "reference" / "model.pth.tar").exists():
        pytest.skip(f"no real films: {SHARED} is not there")
    return SHARED


@pytest.fixture(scope="session")
def script():
    """Run a script as a user does: `script("eval.py", "--data-dir", …)` -> CompletedProcess."""

    def run(name, *words, **options):
        return subprocess.run(
            [*options.pop("prefix", []), sys.executable, ROOT / name, *map(str, words)],
            capture_output=True,
            text=True,
            timeout=options.pop("timeout", 600),
            **options,
        )

    return run


@pytest.fixture(scope="session")
def forked(script):
    """As `script`, but the process has Paddle from the start: a second less (forked.py)."""
    if sys.platform != "linux":  # elsewhere there is no fork, or none that system libraries bear
        yield script
        return
    server = Server()
    yield lambda name, *words, **options: server.run([name, *map(str, words)], **options)
    server.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium, driven by Selenium; it notes every request and console message."""
    webdriver = pytest.importorskip("selenium.webdriver")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("no chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    words = "headless=new no-sandbox disable-gpu no-first-run disable-background-networking "
    words += "disable-component-update disable-sync disable-quic disable-dev-shm-usage "
    folder = tmp_path_factory.mktemp("browser")
    words += f"window-size=1280,900 user-data-dir={folder / 'user'} log-net-log={folder / 'net'}"
    for word in words.split():
        options.add_argument(f"--{word}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.chrome.service.Service(programs[1])
    driver = webdriver.Chrome(options=options, service=service)
    driver.net_log = folder / "net"
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def firefox(tmp_path_factory):
    """A headless Firefox; see `helpers.firefox`."""
    from helpers.firefox import Firefox

    pytest.importorskip("websocket")
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        pytest.skip("no Firefox: apt-get install firefox-esr")
    driven = Firefox(program, tmp_path_factory.mktemp("firefox"))
    yield driven
    driven.quit()


def build_standin(device_type="standin"):
    """Return the environment variables with which Paddle has a stand-in accelerator."""
    import paddle

    import standin

    if paddle.__version__.startswith("2"):
        pytest.skip("no stand-in accelerator: its kernels are written for Paddle 3")
    cache = pathlib.Path(tempfile.gettempdir()) / f"chexnet-standin-{os.getuid()}"
    try:
        return standin.build(cache, device_type)
    except standin.Unavailable as error:
        pytest.skip(f"no stand-in accelerator: {error}")


@pytest.fixture(scope="session")
def standin_variables():
    return build_standin()


@pytest.fixture(scope="session")
def on_device():
    """Run a script with the stand-in there: `on_device("train.py", …)` -> CompletedProcess.

    `counted=PATH` has counted.py run it and write PATH; `device_type` builds under another name;
    `more` are environment variables.
    """

    def run(name, *words, device_type="standin", counted=None, more=(), **options):
        variables = {**build_standin(device_type), **dict(more)}
        runner = [ROOT / "tests" / "standin" / "counted.py", counted] if counted else []
        paths = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'standin'}"
        return subprocess.run(
            [sys.executable, *map(str, [*runner, ROOT / name, *words])],
            capture_output=True,
            text=True,
            timeout=600,
            # The stand-in falls back to Paddle's CPU kernels: --device cpu has the same ones here.
            env={**os.environ, **variables, "PYTHONPATH": paths, "CHEXNET_ONEDNN": "off"},
            **options,
        )

    return run


@pytest.fixture
def server():
    """A server on 127.0.0.1 that has no files yet."""
    from helpers import mirror

    server = mirror.Server()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()


@pytest.fixture
def heeding_modes():
    """The words before a command that make it heed file modes, as all but root do anyway."""
    if os.geteuid():
        return []
    prefix = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
    if not can_run([*prefix, "true"]):
        pytest.skip("root reads and writes anything, and setpriv cannot keep it from that here")
    return prefix


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a file system of so many megabytes, or changes the mounted one's."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(megabytes):
        again = "remount," if os.path.ismount(disk) else ""
        options = f"{again}size={megabytes}m"
        if not can_run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]):
            pytest.skip("cannot mount a small file system here (needs root)")
        return disk

    yield mount
    if os.path.ismount(disk):
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.fixture
def fails(script, forked):
    """Run a script that must fail as the contract says; return its one error line."""

    def run(name, *words, **options):
        result = (script if options else forked)(name, *words, **options)
        assert result.returncode == 2, result.stdout + result.stderr
        assert "Traceback" not in result.stderr
        errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, result.stderr
        assert result.stderr.splitlines()[-1] == errors[0]
        return errors[0]

    return run


@pytest.fixture(scope="session")
def phantoms(script, once):
    """A data folder of 24 training, 8 validation and 12 test phantoms."""

    def draw(folder):
        counts = ["--train", 24, "--val", 8, "--test", 12]
        result = script("demo/phantoms.py", "--output-dir", folder, *counts)
        assert result.returncode == 0, result.stderr

    return once("phantoms", draw)


@pytest.fixture(scope="session")
def random_weights(once):
    """A .pdparams file of a network that has learnt nothing."""

    def save(folder):
        import paddle

        from model import CheXNet
        from weights.weight_files import save_state

        paddle.seed(3)
        save_state(CheXNet().state_dict(), str(folder / "random.pdparams"))

    return once("random_weights", save) / "random.pdparams"


@pytest.fixture(scope="session")
def evaluated(script, phantoms, random_weights, once):
    """What eval.py wrote of the test phantoms and these weights, crops of 64 of 72 pixels."""

    def evaluate(folder):
        words = ["--resize", 72, "--crop-size", 64, "--no-report", "--output-dir", folder]
        result = script("eval.py", "--data-dir", phantoms, "--weights", random_weights, *words)
        assert result.returncode == 0, result.stderr

    return once("evaluated", evaluate)


@pytest.fixture(scope="session")
def predicted_on_cpu(script, phantoms, random_weights, once):
    """Two test phantoms and their probabilities at `MAP_SIZES`, computed on the CPU."""
    from evaluation.predictions_csv import read_predictions
    from films.label_lists import read_label_list

    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    films = [phantoms / "images" / name for name in names[:2]]

    def predict(folder):
        words = ["--weights", random_weights, "--top", 0, "--output-dir", folder]
        result = script("predict.py", *films, *MAP_SIZES, *words, "--device", "cpu")
        assert result.returncode == 0, result.stderr

    folder = once("predicted_on_cpu", predict)
    return films, read_predictions(folder / "predictions.csv", names[:2])


@pytest.fixture(scope="session")
def known(random_weights, once):
    """What evaluations of these weights would leave: metrics.json and operating_points.json."""
    from films.label_lists import CLASS_NAMES
    from runtime.files import sha256

    def write(folder):
        weights = {"weights": {"sha256": sha256(random_weights)}, "resize": 144, "crop_size": 128}
        figures = {"auroc_mean": 0.6661, "auroc_mean_over": 13, "images": 774, "patients": 678}
        figures["auroc_mean_95_percent"] = [0.6431, 0.6891]
        figures["data"] = {"source": "cartoons", "list": None}
        (folder / "metrics.json").write_text(json.dumps(weights | figures))
        facts = {"films": 8, "positives": 2, "prevalence": 0.25, "threshold": 0.5}
        facts |= {"quantiles_without": [n / 100 for n in range(101)], "quantiles_with": None}
        facts["calibration"] = {"slope": 1.5, "intercept": -0.25}
        by_class = dict.fromkeys(CLASS_NAMES, facts)
        rising = {"probability": [0.1, 0.4, 0.9], "calibrated": [0.0, 0.5, 0.75]}
        by_class["Mass"] = facts | {"calibration": rising, "threshold": 2.0}
        nothing = dict.fromkeys(("prevalence", "threshold", "quantiles_without", "calibration"))
        by_class["Hernia"] = facts | nothing
        values = {"films": 8, "patients": 7, "by_class": by_class, "source": "cartoons"}
        (folder / "operating_points.json").write_text(json.dumps(weights | values))

    return once("known_of_random_weights", write)


@pytest.fixture(scope="session")
def page(script, predicted_on_cpu, random_weights, known, once):
    """The folder of a page, checked on two phantoms when it was exported."""
    films, _ = predicted_on_cpu

    def export(folder):
        words = ["--weights", random_weights, "--format", "web", "--output-dir", folder, *MAP_SIZES]
        words += ["--reference", known / "operating_points.json"]
        words += ["--metrics", known / "metrics.json"]
        result = script("export.py", *films, *words)
        if "want npm to fetch" in result.stderr:
            pytest.skip("npm's registry cannot be reached")
        assert result.returncode == 0, result.stderr
        said = f"wrote {folder}/random-web; largest difference from eval.py on 2 films: "
        difference = result.stdout.splitlines()[-1].removeprefix(said)
        print(f"largest difference of a probability: {difference}")
        assert float(difference) <= 1e-5
        # Node takes .js files for ES modules; a browser needs no such file.
        (folder / "random-web" / "package.json").write_text('{"type": "module"}')

    return once("page", export) / "random-web"


@pytest.fixture(scope="session")
def reference_weights(shared, script, once):
    """The reference checkpoint in ../shared, converted by the real script."""

    def convert(folder):
        path = folder / "model_from_torch.pdparams"
        result = script("convert_torch_weights.py", shared / "reference" / "model.pth.tar", path)
        assert result.returncode == 0, result.stderr

    return once("reference", convert) / "model_from_torch.pdparams"


@pytest.fixture
def convert(tmp_path):
    """A function from a published table to the lines of its label list: `helpers.tables`."""
    from helpers.tables import converted

    return partial(converted, tmp_path)


@pytest.fixture
def members(tmp_path):
    """What three networks predicted, as files, and the labels; see `helpers.evaluations`."""
    from helpers.evaluations import write_members

    return write_members(tmp_path)
