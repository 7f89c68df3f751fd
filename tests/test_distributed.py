"""Two processes on Paddle's own engine, over gloo on the CPU."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import ROOT, link_films

from runtime.untrusted_files import read_pickle

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64]


@pytest.fixture
def launch(tmp_path):
    """Start a script on two ranks: `launch("eval.py", …)` -> Popen."""
    processes = []

    def start(name, *words):
        command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", 2]
        command += ["--backend", "gloo", "--log_dir", tmp_path / "ranks", ROOT / name, *words]
        processes.append(
            subprocess.Popen(
                list(map(str, command)),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def finish(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def test_two_ranks_give_the_predictions_of_one(script, launch, phantoms, random_weights, tmp_path):
    data = link_films(phantoms, tmp_path / "data")
    path = data / "labels" / "test_list.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:11]))  # an odd number
    words = ["--data-dir", data, "--weights", random_weights, *SMALL, "--batch-size", 3]
    alone = script("eval.py", *words, "--output-dir", tmp_path / "one")
    output = finish(launch("eval.py", *words, "--output-dir", tmp_path / "two"))
    one, two = (tmp_path / name / "predictions.csv" for name in ("one", "two"))
    assert one.read_text() == two.read_text() and len(one.read_text().splitlines()) == 12
    table = [line for line in output.splitlines() if line.startswith("The ")]
    assert table == alone.stdout.splitlines()[2:]


def test_training_on_two_ranks_follows_one_with_the_same_global_batch(
    launch, phantoms, random_weights, tmp_path
):
    name = "tests/fit_frozen_statistics.py"
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
    """Process ids of the launcher's two ranks."""
    ranks = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"train.py" in (folder / "cmdline").read_bytes():
                ranks.append(int(folder.name))
    return ranks


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
    process.communicate(timeout=60)
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
    process.communicate(timeout=60)
    assert process.returncode != 0
    logs = "".join(path.read_text() for path in (tmp_path / "ranks").glob("workerlog.*"))
    assert f"error: {data}" in logs and name in logs
