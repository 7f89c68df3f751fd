"""Two processes on Paddle's own engine, over gloo on the CPU, by Paddle's two launchers.

`--backend gloo` brings its older launcher, which ends without a word to its ranks at SIGTERM.
"""

import contextlib
import csv
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import paddle
import pytest
from helpers.folders import link_films, tree
from helpers.places import ROOT
from helpers.runs import same_run
from sklearn.metrics import log_loss

from dataset import CenterCrop, ChestXray14
from model import CheXNet, load_weights
from runtime import environment
from runtime.command_line import default_workers
from runtime.devices import set_device
from runtime.files import UserError
from weights.untrusted_files import read_pickle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        environment.has_gpu(),
        reason="a Paddle for GPUs finds a card: its launcher starts a rank for each, not two",
    ),
]

SMALL = ["--resize", 72, "--crop-size", 64]


OLD_LAUNCHER = ["--nproc_per_node", 2, "--backend", "gloo"]
ONE_MACHINE = ["--nproc_per_node", 2]
TRAIN = [*SMALL, "--pretrained", "none", "--batch-size", 2, "--epochs", 2, "--decay-epochs", 1]
TRAIN += ["--log-freq", 1, "--save-steps", 2]


@pytest.fixture
def launch(tmp_path):
    """Start a script on two ranks: `launch("eval.py", …)` -> Popen, the launcher."""
    processes = []

    def start(name, *words, ranks=OLD_LAUNCHER, log_dir=tmp_path / "ranks"):
        command = [sys.executable, "-m", "paddle.distributed.launch", *ranks]
        command += ["--log_dir", log_dir, ROOT / name, *words]
        shutil.rmtree(log_dir, ignore_errors=True)  # both launchers append to the last job's
        processes.append(
            subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        processes[-1].log = log_dir / "workerlog.0"
        return processes[-1]

    yield start
    for process in processes:
        for number in descendants(process) if process.poll() is None else []:
            kill(number, signal.SIGKILL)


def descendants(process):
    """Process ids of a launcher, of its ranks and of their workers, the launcher first."""
    parents = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(stat[1])
    found = [process.pid]
    for number in found:  # grows
        found += [child for child, parent in parents.items() if parent == number]
    return found


def kill(number, sign):
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, sign)


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def alone(script, phantoms, random_weights, once):
    """Words for eval.py, and the folder of what one process wrote and printed with them."""
    words = ["--data-dir", phantoms, "--weights", random_weights, *SMALL, "--batch-size", 3]
    words += ["--no-intervals", "--no-report", "--test-list"]

    def evaluate(folder):
        lines = (phantoms / "labels" / "test_list.txt").read_text().splitlines()
        (folder / "list.txt").write_text("\n".join(lines[:11]))  # an odd number
        result = script("eval.py", *words, folder / "list.txt", "--output-dir", folder)
        assert result.returncode == 0, result.stderr
        (folder / "printed.txt").write_text(result.stdout)

    folder = once("one_process", evaluate)
    return [*words, folder / "list.txt"], folder


def same_evaluation(folder, output, alone):
    """The same predictions, and the same table in a launcher's output."""
    one, two = (path / "predictions.csv" for path in (alone, folder))
    assert one.read_text() == two.read_text() and len(one.read_text().splitlines()) == 12
    table = [line for line in output.splitlines() if line.startswith("The ")]
    assert table == (alone / "printed.txt").read_text().splitlines()[2:]


def test_two_ranks_give_the_predictions_of_one(launch, alone, tmp_path):
    words, folder = alone
    output = finish(launch("eval.py", *words, "--output-dir", tmp_path / "two"))
    same_evaluation(tmp_path / "two", output, folder)


def test_training_on_two_ranks_follows_one_with_the_same_global_batch(
    launch, phantoms, random_weights, tmp_path
):
    name = "tests/helpers/fit_frozen_statistics.py"
    command = [sys.executable, ROOT / name, phantoms, 8, random_weights, tmp_path / "one.pdparams"]
    subprocess.run(list(map(str, command)), check=True)
    finish(launch(name, phantoms, 4, random_weights, tmp_path / "two.pdparams"))
    one, two, start = (
        read_pickle(path)
        for path in (tmp_path / "one.pdparams", tmp_path / "two.pdparams", random_weights)
    )
    names = [name for name in one if name != "StructuredToParameterName@@"]
    difference = max(np.abs(one[name] - two[name]).max() for name in names)
    moved = max(np.abs(one[name] - start[name]).max() for name in names)
    print(f"largest difference of a weight {difference:.1e}, largest way {moved:.1e}")
    assert difference <= 1e-5 < 1e-3 < moved


def ranks_of(process):
    """Process ids of the launcher's ranks."""
    ranks = []
    for number in descendants(process)[1:]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            stat = pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            if int(stat[1]) == process.pid:
                ranks.append(number)
    return ranks


def read_until(process, beginning):
    """Wait for a line of a launcher's first rank that begins so.

    The launcher itself repeats the rank's lines seconds later, when a short run may be over.
    """
    deadline, text = time.monotonic() + 300, ""
    while not any(line.startswith(beginning) for line in text.splitlines()):
        assert process.poll() is None and time.monotonic() < deadline, text
        time.sleep(0.02)
        text = process.log.read_text() if process.log.exists() else ""


def folders(phantoms, folder):
    return ["--data-dir", phantoms, "--save-dir", folder / "save", "--log-dir", folder / "logs"]


@pytest.fixture(scope="module")
def uninterrupted(phantoms, once):
    """The folder of a run on two ranks that nobody touched."""

    def train(folder):
        command = [sys.executable, "-m", "paddle.distributed.launch", *ONE_MACHINE]
        command += ["--log_dir", folder / "ranks", ROOT / "train.py", *folders(phantoms, folder)]
        result = subprocess.run(list(map(str, command + TRAIN)), capture_output=True, text=True)
        assert result.returncode == 0, result.stdout
        assert "warning: AUROC_avg" in result.stdout
        assert "AUROC" not in (folder / "ranks" / "workerlog.1").read_text()

    return once("two_ranks", train) / "save"


def test_the_figures_of_a_validation_are_those_of_the_weights_that_are_saved(
    phantoms, uninterrupted
):
    """Each rank has running statistics of its own films; their mean is what counts."""
    films = ChestXray14(phantoms, phantoms / "labels" / "val_list.txt", CenterCrop(64), 72)
    pixels, labels = zip(*(films[n] for n in range(len(films))), strict=True)
    with open(uninterrupted / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for epoch, row in enumerate(rows, 1):
        network = CheXNet()
        load_weights(network, str(uninterrupted / f"epoch_{epoch}" / "weights.pdparams"))
        network.eval()
        with paddle.no_grad():
            probs = network(paddle.to_tensor(np.stack(pixels))).numpy()
        loss = log_loss(np.stack(labels).ravel(), probs.ravel().astype(float))
        assert float(row["val_loss"]) == pytest.approx(loss, rel=1e-4)


def test_ranks_share_the_cores(uninterrupted):
    config = json.loads((uninterrupted / "config.json").read_text())
    assert config["ranks"] == 2
    assert config["num_workers"] == max(1, min(8, len(os.sched_getaffinity(0)) // 2))
    assert config["num_workers"] <= default_workers()


def test_two_ranks_that_are_stopped_in_all_ways_end_as_if_nothing_had_been(
    phantoms, uninterrupted, launch, tmp_path
):
    words = [*folders(phantoms, tmp_path), *TRAIN, "--resume"]
    # A scheduler tells the launcher, which signals its ranks' process groups three times.
    job = launch("train.py", *words, ranks=ONE_MACHINE)
    read_until(job, "step 1/6")
    job.send_signal(signal.SIGTERM)
    saved(job, tmp_path, "epoch_1_step_")
    # Slurm signals every process, workers among them, and the launcher does so again.
    job = launch("train.py", *words, ranks=ONE_MACHINE)
    read_until(job, "Eval begin")
    for number in descendants(job):
        kill(number, signal.SIGTERM)
    saved(job, tmp_path, "epoch_1")
    # A rank dies.
    job = launch("train.py", *words, ranks=ONE_MACHINE)
    read_until(job, "Epoch 2/2")
    read_until(job, "step 3/6")
    os.kill(ranks_of(job)[1], signal.SIGKILL)
    job.communicate(timeout=300)
    assert job.returncode != 0
    # The launcher dies, by which its ranks hear nothing; Paddle's older one so does at SIGTERM.
    job = launch("train.py", *words, ranks=ONE_MACHINE)
    read_until(job, "Epoch 2/2")
    ranks = ranks_of(job)
    job.kill()
    for rank in ranks:
        wait_for_the_end(rank)
    assert "SIGTERM: saved" in (tmp_path / "ranks" / "workerlog.0").read_text().splitlines()[-1]
    finish(launch("train.py", *words, ranks=ONE_MACHINE))
    same_run(tmp_path / "save", uninterrupted)


def wait_for_the_end(number):
    """Wait until a process that is not our child has ended."""
    deadline = time.monotonic() + 300
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while "Z" not in pathlib.Path(f"/proc/{number}/stat").read_text().rpartition(")")[2]:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def saved(job, folder, name):
    """Wait for the end of a job that SIGTERM stopped: it has said what it saved, and no more."""
    output, _ = job.communicate(timeout=300)
    # Its own status, or its ranks': the launcher may miss the SystemExit of its signal handler.
    assert job.returncode in (signal.SIGTERM, 128 + signal.SIGTERM), output
    logs = [(folder / "ranks" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert f"SIGTERM: saved {folder}/save/{name}" in logs[0]
    assert "Traceback" not in logs[0] + logs[1] and "DataLoader" not in logs[0] + logs[1]
    assert not [path for path in tree(folder / "save") if ".tmp" in path]


@pytest.fixture
def machines(launch, tmp_path):
    """Start a script by two launchers, as on two machines: `machines("eval.py", …)` -> Popens."""

    def start(name, *words, own_words=([], [])):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        place = ["--nnodes", 2, "--master", f"127.0.0.1:{port}", "--nproc_per_node", 1, "--rank"]
        return [
            launch(name, *words, *own, ranks=[*place, n], log_dir=tmp_path / f"machine_{n}")
            for n, own in enumerate(own_words)
        ]

    return start


@pytest.mark.rare
def test_two_machines_train_as_one_also_when_one_of_them_dies(
    phantoms, uninterrupted, machines, tmp_path
):
    words = [*folders(phantoms, tmp_path), *TRAIN, "--resume"]
    # One machine alone is told to stop: both save and end.
    first, second = machines("train.py", *words)
    read_until(first, "step 1/6")
    second.send_signal(signal.SIGTERM)
    output, _ = first.communicate(timeout=300)
    assert f"SIGTERM: saved {tmp_path}/save/epoch_1" in output
    second.communicate(timeout=300)
    first, second = machines("train.py", *words)
    read_until(first, "Epoch 2/2")
    for number in descendants(second):
        kill(number, signal.SIGKILL)
    first.communicate(timeout=300)
    assert first.returncode != 0
    for machine in machines("train.py", *words):
        finish(machine)
    same_run(tmp_path / "save", uninterrupted)


@pytest.mark.rare
def test_two_machines_evaluate_as_one(machines, alone, tmp_path):
    words, folder = alone
    first, second = machines("eval.py", *words, "--output-dir", tmp_path / "two")
    output = finish(first)
    finish(second)
    same_evaluation(tmp_path / "two", output, folder)


def test_ranks_that_talk_over_gloo_compute_on_the_cpu_whatever_paddle_has(monkeypatch):
    """There is no GPU here: what is patched is whether there is one."""
    monkeypatch.setattr(paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(paddle.device.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("PADDLE_DISTRI_BACKEND", "gloo")
    monkeypatch.setattr(paddle.distributed, "get_world_size", lambda: 2)
    assert set_device("auto") == "cpu"
    with pytest.raises(UserError, match="--device gpu: the ranks talk over gloo"):
        set_device("gpu")


def test_machines_that_see_other_checkpoints_do_not_train(
    phantoms, uninterrupted, machines, tmp_path
):
    own = [["--save-dir", uninterrupted], ["--save-dir", tmp_path / "own"]]
    before = {name: (uninterrupted / name).stat().st_mtime_ns for name in tree(uninterrupted)}
    words = ["--data-dir", phantoms, *TRAIN, "--log-dir", tmp_path / "logs", "--resume"]
    for machine in machines("train.py", *words, own_words=own):
        output, _ = machine.communicate(timeout=300)
        assert machine.returncode != 0
        assert (
            "want the same last checkpoint on all ranks, got epoch_2 on rank 0 and none on rank 1"
        ) in output
    assert not (tmp_path / "own").exists()
    assert before == {name: (uninterrupted / name).stat().st_mtime_ns for name in before}


def test_a_nan_on_another_rank_reaches_no_checkpoint(launch, phantoms, tmp_path):
    words = [*folders(phantoms, tmp_path), *TRAIN, "--save-steps", 1]
    job = launch("tests/helpers/fit_nan_on_one_rank.py", *words, ranks=ONE_MACHINE)
    job.communicate(timeout=300)
    assert job.returncode != 0
    (last,) = (tmp_path / "save").glob("epoch_*")
    assert last.name == "epoch_1_step_2"
    weights = read_pickle(last / "weights.pdparams")
    weights.pop("StructuredToParameterName@@")
    assert all(np.isfinite(array).all() for array in weights.values())
    logs = [(tmp_path / "ranks" / f"workerlog.{rank}").read_text() for rank in (0, 1)]
    assert "error: epoch 1, step 3: want a finite loss, got nan" in logs[1]
    assert "step 3: want a finite loss, got NaN or infinity on another rank" in logs[0]


def test_one_rank_writes_and_a_rank_that_dies_ends_the_job(launch, phantoms, tmp_path):
    words = ["--data-dir", phantoms, *SMALL, "--pretrained", "none", "--batch-size", 2]
    words += ["--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs", "--log-freq", 1]
    process = launch("train.py", *words, "--epochs", 50)
    for line in process.stdout:
        if line.startswith("Epoch 2/50"):
            break
    ranks = ranks_of(process)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    killed = time.monotonic()
    process.communicate(timeout=300)
    assert process.returncode != 0
    print(f"over after {time.monotonic() - killed:.0f} s")
    assert ranks_of(process) == []
    assert len(list((tmp_path / "logs").iterdir())) == 1
    assert (tmp_path / "save" / "epoch_1" / "weights.pdparams").exists()


def test_a_broken_film_in_one_rank_s_share_ends_the_job_with_its_name(
    launch, phantoms, random_weights, tmp_path
):
    data = link_films(phantoms, tmp_path / "data")
    name = (data / "labels" / "test_list.txt").read_text().splitlines()[3].split()[0]
    (data / "images" / name).unlink()
    (data / "images" / name).write_bytes(b"not a film")
    process = launch(
        "eval.py", "--data-dir", data, "--weights", random_weights, *SMALL, "--batch-size", 3
    )
    process.communicate(timeout=300)
    assert process.returncode != 0
    logs = "".join(path.read_text() for path in (tmp_path / "ranks").glob("workerlog.*"))
    assert f"error: {data}" in logs and name in logs
