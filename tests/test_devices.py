"""The scripts on a device that is not the CPU, without a card: see standin/standin.py."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from helpers.pages import has_text, served
from helpers.places import MAP_SIZES, ROOT
from helpers.processes import wait_for
from helpers.runs import same

import standin
from evaluation.predictions_csv import read_predictions
from films.label_lists import read_label_list
from weights.untrusted_files import read_pickle
from weights.weight_files import save_state

pytestmark = pytest.mark.slow

SIZES = ["--resize", 72, "--crop-size", 64]
OPTIONS = [*SIZES, "--pretrained", "none", "--batch-size", 4, "--decay-epochs", 1, "--log-freq", 1]


@pytest.fixture(scope="module")
def train(phantoms, on_device, tmp_path_factory):
    """Train on phantoms, for an epoch by default; returns what was printed and the folder."""

    def run(*words, save=None, **options):
        save = save or tmp_path_factory.mktemp("run") / "save"
        folders = ["--data-dir", phantoms, "--save-dir", save, "--log-dir", save.parent / "logs"]
        epochs = [] if "--epochs" in words else ["--epochs", 1]
        result = on_device("train.py", *folders, *OPTIONS, *epochs, *words, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout, save

    return run


@pytest.fixture(scope="module")
def train_once(train, once):
    """Train as `train` does, once for all workers: what was printed, the folder, the counts."""

    def run(name, *words):
        def make(folder):
            counted = folder / "counted.json"
            printed, _ = train(*words, save=folder / "save", counted=counted)
            (folder / "printed.txt").write_text(printed)

        folder = once(name, make)
        return (folder / "printed.txt").read_text(), folder / "save", folder / "counted.json"

    return run


@pytest.fixture(scope="module")
def trained(train_once):
    """An epoch on the stand-in at a level of --amp: what was printed, folder, counts."""

    def run(level):
        device = "standin:1" if level == "off" else "standin"
        return train_once(f"trained_{level}", "--device", device, "--amp", level)

    return run


@pytest.fixture(scope="module")
def on_cpu(train_once):
    """The float32 run on the CPU that the others are held against."""
    return train_once("trained_on_cpu", "--device", "cpu")


@pytest.fixture(scope="module")
def evaluated_on_device(phantoms, random_weights, on_device, once):
    """The folder of the evaluation that `evaluated` is, on the stand-in, and its counts."""

    def evaluate(folder):
        words = ["--data-dir", phantoms, "--weights", random_weights, "--no-report", *SIZES]
        words += ["--output-dir", folder, "--device", "standin", "--batch-size", 4]
        result = on_device("eval.py", *words, counted=folder / "counted.json")
        assert result.returncode == 0, result.stderr

    return once("evaluated_on_device", evaluate)


def losses(printed):
    """The losses of the training steps."""
    return np.array(re.findall(r"^step \d+/6 - loss: (\S+)", printed, re.M), float)


def largest_difference(ours, theirs, names=""):
    """Of all arrays in two files of weights, or of those with `names` in their names."""
    ours, theirs = read_pickle(ours), read_pickle(theirs)
    assert ours.keys() == theirs.keys()
    return max(
        np.abs(ours[key] - theirs[key]).max()
        for key in ours
        if isinstance(ours[key], np.ndarray) and re.search(names, key)
    )


def test_training_on_a_device_ends_with_the_weights_of_the_cpu(trained, on_cpu):
    _, save, _ = trained("off")
    assert json.loads((save / "config.json").read_text())["device"] == "standin:1"
    weights = "epoch_1/weights.pdparams"
    difference = largest_difference(save / weights, on_cpu[1] / weights)
    print(f"largest difference of a weight: {difference:.1e}")
    assert difference == 0  # the same kernels on the same numbers


def probability_difference(phantoms, *folders):
    """The largest between two evaluations of the test phantoms."""
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    ours, theirs = (read_predictions(folder / "predictions.csv", names) for folder in folders)
    difference = np.abs(ours - theirs).max()
    print(f"largest difference of a probability: {difference:.1e}")
    return difference


def test_evaluation_on_a_device_agrees_with_the_cpu(phantoms, evaluated, evaluated_on_device):
    assert probability_difference(phantoms, evaluated_on_device, evaluated) < 1e-6


def test_evaluation_in_float16_agrees_with_the_cpu_s_float32(
    phantoms, random_weights, evaluated, on_device, tmp_path
):
    words = ["--data-dir", phantoms, "--weights", random_weights, "--no-report", *SIZES]
    words += ["--output-dir", tmp_path, "--device", "standin", "--precision", "fp16"]
    result = on_device("eval.py", *words)
    assert result.returncode == 0, result.stderr
    # float16 keeps 11 bits; 120 layers of rounding are a random walk.
    assert 1e-5 < probability_difference(phantoms, tmp_path, evaluated) < 5e-3


@pytest.mark.parametrize("level", ["O1", pytest.param("O2", marks=pytest.mark.rare)])
def test_half_precision_learns_what_float32_does(level, trained, on_cpu):
    printed, *_ = trained(level)
    difference = np.abs(losses(printed) - losses(on_cpu[0]))
    print("difference of the losses, step by step:", difference)
    assert difference[0] < 1e-2 and difference.max() < 0.1
    assert "the loss scaler skipped 0 of 6 steps" in printed


@pytest.mark.rare
def test_half_precision_in_bfloat16_too(train, on_cpu):
    words = ["--device", "intel_hpu", "--amp", "O2", "--amp-dtype", "bfloat16"]
    printed, _ = train(*words, device_type="intel_hpu")
    difference = np.abs(losses(printed) - losses(on_cpu[0]))
    print("difference of the losses, step by step:", difference)
    assert difference[0] < 2e-2 and difference.max() < 0.1


def test_a_step_whose_gradients_overflow_is_left_out(train, trained, tmp_path):
    level, save = "O2", tmp_path / "save"  # O1 has the same scaler
    shutil.copytree(trained(level)[1], save)
    path = save / "epoch_1" / "run.pdstate"
    state = read_pickle(path)
    state["scaler"]["scale"] = np.float32([2.0**60])  # six halvings are not enough
    save_state(state, str(path))
    words = ["--device", "standin", "--amp", level, "--resume", "--epochs", 2]
    printed, _ = train(*words, save=save)
    assert printed.count("Found inf or nan, current scale is") == 6
    difference = [
        largest_difference(*(save / f"epoch_{n}" / "weights.pdparams" for n in (1, 2)), names)
        for names in (r"weight$|bias$", "_mean$|_variance$")
    ]
    print("change of the parameters, and of what batch norm saw:", difference)
    assert difference[0] == 0 and difference[1] > 0
    state = read_pickle(save / "epoch_2" / "run.pdstate")
    assert float(np.ravel(state["scaler"]["scale"])[0]) == 2.0**54
    assert np.isfinite(losses(printed)).all()
    skipped = re.findall(r"the loss scaler skipped (\d) of 6 steps", printed)
    assert skipped == ["6"], skipped


def begin(phantoms, save, variables, *words):
    """Start a training of one epoch on the stand-in."""
    folders = ["--data-dir", phantoms, "--save-dir", save, "--log-dir", save.parent / "logs"]
    words = [ROOT / "train.py", *folders, *OPTIONS, "--epochs", 1, "--device", "standin", *words]
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables, "PYTHONUNBUFFERED": "1"},
    )


def send_at(process, step, number):
    """Send a signal once a step has been printed, and wait for the end."""
    for line in process.stdout:
        if line.startswith(f"step {step}/6"):
            process.send_signal(number)
            break
    process.communicate()


@pytest.mark.rare
def test_a_half_precision_run_that_is_killed_goes_on_to_the_bit(
    train, trained, phantoms, standin_variables, tmp_path
):
    level = "O2"  # all that O1 keeps, and the float32 weights beside
    amp, steps = ["--amp", level], ["--save-steps", 2]
    _, whole, _ = trained(level)
    process = begin(phantoms, tmp_path / "save", standin_variables, *amp, *steps)
    send_at(process, 3, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    words = ["--device", "standin", *amp, *steps, "--resume"]
    printed, parts = train(*words, save=tmp_path / "save")
    assert re.search(r"going on from \S+/epoch_1_step_[246]\n", printed)
    for name in ("weights.pdparams", "optimizer.pdopt"):  # with master weights at O2
        ours, theirs = (read_pickle(folder / "epoch_1" / name) for folder in (parts, whole))
        assert same(ours, theirs), name
    scalers = [
        read_pickle(folder / "epoch_1" / "run.pdstate")["scaler"] for folder in (parts, whole)
    ]
    assert same(*scalers)


def test_a_batch_crosses_to_the_device_once_as_bytes(trained):
    _, _, counted = trained("off")
    traffic = json.loads(counted.read_text())["traffic"]
    # 32 films of 64 x 64 bytes, 14 labels of 4: a copy of each a batch.
    assert traffic["loader_to_device"] == {"bytes": 32 * (64 * 64 + 14 * 4), "calls": 2 * 8}


def reads(counted, batch):
    """What was fetched during a batch: sorted (shape, times)."""
    rows = [row for row in json.loads(counted.read_text())["reads"] if row["batch"] == batch]
    return sorted((re.sub(r"\D+", " ", row["shape"]).split(), row["times"]) for row in rows)


@pytest.mark.parametrize("level", ["off", pytest.param("O1", marks=pytest.mark.rare)])
def test_a_step_is_read_while_the_device_does_the_next(level, train_once):
    words = ["--device", "standin", "--log-freq", 10, "--amp", level]
    _, _, counted = train_once(f"waits_{level}", *words)
    # The loss; probabilities and labels side by side, for the AUROCs; and with float16, before it
    # moves a weight, Paddle's optimiser reads the loss scaler's flag.
    flag = [(["1"], 1)] if level == "O1" else []
    known = [([], 1), *flag, (["4", "28"], 1)]
    assert reads(counted, "train 1") == flag
    for step in range(2, 7):
        assert reads(counted, f"train {step}") == known
        assert reads(counted, f"after train {step - 1}") == []
    assert reads(counted, "eval 1") == [([], 1), (["4", "28"], 1)]


def test_a_line_that_is_printed_has_the_figures_of_its_step(trained, train_once):
    every, *_ = trained("off")  # a line a step
    seldom, *_ = train_once("waits_off", "--device", "standin", "--log-freq", 10, "--amp", "off")

    def last(printed):
        return re.findall(r"^step 6/6 - (.*) - \d+m?s/step$", printed, re.M)

    assert last(every) == last(seldom) != []


@pytest.mark.rare
def test_recomputing_on_a_device_gives_the_losses_that_keeping_does(train, trained):
    """In float16, where the backward pass is outside of auto_cast."""
    words = ["--device", "standin", "--amp", "O1", "--recompute"]
    np.testing.assert_array_equal(losses(train(*words)[0]), losses(trained("O1")[0]))


@pytest.mark.parametrize("mebibytes", [8, 120])  # less than the weights; than a step
def test_full_memory_is_one_line_and_no_failed_download(mebibytes, on_device, phantoms, tmp_path):
    folders = ["--data-dir", phantoms, "--save-dir", tmp_path / "save", "--log-dir", tmp_path]
    start = [] if mebibytes == 8 else ["--pretrained", "none"]
    words = [*folders, *SIZES, *start, "--batch-size", 4, "--device", "standin"]
    result = on_device("train.py", *words, more={"STANDIN_MIB": str(mebibytes)})
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("error: the device failed: CustomDevice error")
    assert "if its memory is full, give a smaller --batch-size" in result.stderr
    assert "Traceback" not in result.stderr and "download" not in result.stderr


# Adam keeps the powers of its betas on the host: a kernel reads them without waiting.
POWERS = """
import sys
from runtime import environment
import paddle
from training.checkpoints import restore_optimizer
from weights.weight_files import save_state

def places(optimizer):
    return {t.name: t.place.is_cpu_place() for t in optimizer.state_dict().values()}

def adam():
    with paddle.utils.unique_name.guard():
        network = paddle.nn.Linear(2, 3)
        return network, paddle.optimizer.Adam(0.1, parameters=network.parameters())

paddle.set_device("standin")
network, optimizer = adam()
network(paddle.ones([1, 2])).sum().backward()
optimizer.step()
save_state(optimizer.state_dict(), sys.argv[1])
again, other = adam()
restore_optimizer(other, again, sys.argv[1])
print([name for name, is_on_host in places(other).items() if is_on_host])
"""


def test_what_adam_keeps_on_the_host_is_there_after_a_resume(on_device, tmp_path):
    script = tmp_path / "powers.py"
    script.write_text(POWERS)
    result = on_device(script, tmp_path / "optimizer.pdopt")
    names = [f"linear_0.{p}_0_beta{n}_pow_acc_0" for n in (1, 2) for p in ("w", "b")]
    assert result.stdout == f"{names}\n", result.stderr


def test_an_evaluated_batch_crosses_once_and_fetches_its_probabilities(evaluated_on_device):
    counted = evaluated_on_device / "counted.json"
    traffic = json.loads(counted.read_text())["traffic"]
    # 12 films of 72 x 72 bytes: the ten crops are cut on the device.
    assert traffic["loader_to_device"] == {"bytes": 12 * (72 * 72 + 14 * 4), "calls": 2 * 3}
    assert reads(counted, "eval 2") == [(["4", "14"], 1)]  # the probabilities


@pytest.mark.parametrize(
    ("device_type", "dtype"),
    [("standin", "float16"), pytest.param("intel_hpu", "bfloat16", marks=pytest.mark.rare)],
)
def test_the_kernels_round_once(device_type, dtype, on_device):
    words = [ROOT / "tests" / "standin" / "compare_kernels.py", device_type, dtype]
    result = on_device(*words, device_type=device_type)
    assert result.returncode == 0, result.stderr
    print(result.stdout)
    for line in result.stdout.splitlines():
        assert max(map(float, re.findall(r"\d+\.\d+", line))) <= 2, line


WRONG_COPIES = {
    # kind, destination, source: h(ost), d(evice), o(ther device), p(ast the end)
    "host to device": (0, "hh", "oh", "dd", "ph"),
    "device to host": (1, "hh", "ho", "dd", "hp"),
    "device to device": (2, "hd", "dh", "od", "dp"),
}
# Each copy in a fork, whose status is printed.
COPY = """
import ctypes, os, sys
import paddle
library = ctypes.CDLL(os.environ["CUSTOM_DEVICE_ROOT"] + "/libstandin.so")
tensors = [paddle.ones([64], "uint8", device=f"standin:{n}") for n in (0, 1)]
host = (ctypes.c_char * 64)()
address = {"h": ctypes.addressof(host), "d": tensors[0].data_ptr(), "o": tensors[1].data_ptr()}
address["p"] = address["d"]
for word in sys.argv[1:]:
    kind, to, source = int(word[0]), *word[1:]
    size = 1 << 20 if "p" in word else 64
    places = ctypes.c_void_p(address[to]), ctypes.c_void_p(address[source])
    fork = os.fork()
    if fork == 0:
        library.standin_copy(kind, 0, *places, ctypes.c_size_t(size))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1])
    print(word, status, flush=True)
    print(f"that was {word}", file=sys.stderr, flush=True)
"""


def test_a_copy_from_or_to_the_wrong_side_ends_the_process(on_device, tmp_path):
    script = tmp_path / "wrong_copy.py"
    script.write_text(COPY)
    right = ["0dh", "1hd", "2dd"]
    wrong = [f"{kind}{sides}" for kind, *all_sides in WRONG_COPIES.values() for sides in all_sides]
    result = on_device(script, *right, *wrong)
    assert result.returncode == 0, result.stderr
    ended = [f"{word} {0 if word in right else 86}" for word in (*right, *wrong)]
    assert result.stdout.splitlines() == ended
    said = re.findall(
        r"^standin: copy .* bytes: want .*, got 0x.*\nthat was (\w+)$", result.stderr, re.M
    )
    assert said == wrong


def test_what_cannot_be_built_says_why(tmp_path):
    with pytest.raises(standin.Unavailable, match="no g--: apt-get install"):
        standin.build(tmp_path, compiler="g--")
    with pytest.raises(standin.Unavailable, match="false failed"):
        standin.build(tmp_path, compiler="false")
    assert not list(tmp_path.iterdir())


def test_a_run_on_a_device_is_stopped_and_goes_on_to_the_bit(
    phantoms, standin_variables, on_cpu, train, tmp_path
):
    save = tmp_path / "save"
    process = begin(phantoms, save, standin_variables)
    send_at(process, 1, signal.SIGTERM)
    assert process.returncode == 128 + signal.SIGTERM
    printed, _ = train("--device", "standin", "--resume", save=save)
    assert re.search(rf"going on from {save}/epoch_1_step_[1-6]", printed)
    for name in ("weights.pdparams", "optimizer.pdopt"):
        ours, theirs = (read_pickle(folder / "epoch_1" / name) for folder in (save, on_cpu[1]))
        assert same(ours, theirs), name


def test_auto_is_the_accelerator_and_predict_sees_there_what_it_sees_on_the_cpu(
    predicted_on_cpu, random_weights, on_device, tmp_path
):
    films, theirs = predicted_on_cpu
    words = ["--weights", random_weights, *MAP_SIZES, "--output-dir", tmp_path, "--top", 1]
    result = on_device("predict.py", films[0], *words)
    assert result.returncode == 0, result.stderr
    ours = read_predictions(tmp_path / "predictions.csv", [films[0].name])
    assert np.abs(ours - theirs[:1]).max() <= 1e-6
    assert len(list(tmp_path.glob("*.png"))) == 1
    for name in ("standin:7", "standing"):
        result = on_device("predict.py", films[0], *words, "--device", name)
        assert result.returncode == 2
        there = f"error: --device {name}: no such device; there is cpu, standin:0, standin:1"
        assert result.stderr.splitlines()[-1] == there


@pytest.mark.rare
def test_boxes_are_scored_on_a_device_as_on_the_cpu(
    phantoms, random_weights, script, on_device, tmp_path
):
    names, _ = read_label_list(phantoms / "labels" / "test_list.txt")
    (tmp_path / "list.txt").write_text("".join(f"{n} 1{' 0' * 13}\n" for n in names[:1]))
    boxes = tmp_path / "boxes.csv"
    header = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
    boxes.write_text(header + "".join(f"{n},Atelectasis,100,200,300,400\n" for n in names[:1]))
    words = ["--data-dir", phantoms, "--weights", random_weights, *SIZES, "--no-intervals"]
    words += ["--test-list", tmp_path / "list.txt", "--boxes", boxes, "--output-dir"]
    found = []
    for run, name, *more in ((script, "cpu", "--no-report"), (on_device, "standin")):
        result = run("eval.py", *words, tmp_path / name, "--device", name, *more)
        assert result.returncode == 0, result.stderr
        found.append(json.loads((tmp_path / name / "metrics.json").read_text()))
    assert [metrics["device"] for metrics in found] == ["cpu", "standin:0"]
    assert found[0]["localization"]["by_class"] == found[1]["localization"]["by_class"]
    assert (tmp_path / "standin" / "report.html").exists()


def test_the_page_computes_on_the_device(
    predicted_on_cpu, random_weights, standin_variables, browser, monkeypatch
):
    pytest.importorskip("streamlit")
    for name, value in standin_variables.items():
        monkeypatch.setenv(name, value)
    films, probs = predicted_on_cpu
    with served(*MAP_SIZES, "--weights", random_weights, "--device", "standin:1") as (url, _):
        browser.get(url)

        def inputs():
            return browser.find_elements("css selector", "input[type=file]")

        for film, row in zip(films, probs, strict=True):  # two threads of Streamlit's
            wait_for(inputs)[0].send_keys(str(film))
            caption = f"{film.name}, and where the network looks for"
            wait_for(partial(has_text, browser, caption))
            rows = browser.find_elements("css selector", "table tbody tr")
            shown = [float(row.text.split()[-1]) for row in rows]
            np.testing.assert_allclose(shown, sorted(row, reverse=True), atol=6e-5)
