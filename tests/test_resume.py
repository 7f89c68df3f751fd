"""Training that is killed and goes on, with real processes: KILLS=12 pytest tests/test_resume.py"""

import contextlib
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from helpers.folders import tree
from helpers.places import ROOT
from helpers.runs import same_run

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "3"))
OPTIONS = ["--resize", 72, "--crop-size", 64, "--pretrained", "none", "--batch-size", 4]
OPTIONS += ["--epochs", 2, "--decay-epochs", 1, "--log-freq", 1, "--save-steps", 2]


MOMENTUM = "tests/helpers/train_with_momentum.py"


def command(phantoms, save, *words, script="train.py"):
    folders = ["--data-dir", phantoms, "--save-dir", save, "--log-dir", save.parent / "logs"]
    return list(map(str, [sys.executable, ROOT / script, *folders, *OPTIONS, *words]))


def begin(phantoms, save, *words, script="train.py"):
    return subprocess.Popen(
        command(phantoms, save, *words, script=script),
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.fixture(scope="module")
def uninterrupted(phantoms, once):
    """The folder of a run that nobody touched."""

    def train(folder):
        subprocess.run(command(phantoms, folder / "save"), check=True, capture_output=True)

    return once("uninterrupted", train) / "save"


@pytest.fixture(scope="module")
def other_seed(phantoms, once):
    """The folder of a run with another seed, of whose checkpoints the last is kept."""

    def train(folder):
        words = command(phantoms, folder / "save", "--seed", 1, "--keep", 1)
        subprocess.run(words, check=True, capture_output=True)

    return once("other_seed", train) / "save"


def kill_while(what, process, save, rng):
    """Kill a run while it trains, evaluates or writes a checkpoint; tell whether that came off."""
    if what == "writing":
        seen = rng.randrange(4)  # which of its next checkpoints
        while process.poll() is None:
            writing = [path.name for path in save.glob("epoch_*.tmp")]
            if writing and not seen:
                break
            seen -= bool(writing)
            time.sleep(0.001)
            while writing and process.poll() is None and os.path.exists(save / writing[0]):
                time.sleep(0.001)
    else:
        sign = "Eval begin" if what == "evaluating" else "step "
        lines = rng.randrange(1, 5) if what == "training" else 1
        for line in process.stdout:
            lines -= line.startswith(sign)
            if not lines:
                time.sleep(rng.random() * 0.2)
                break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_a_run_killed_again_and_again_ends_as_if_nothing_had_been(
    phantoms, uninterrupted, tmp_path
):
    save = tmp_path / "save"
    save.mkdir()
    rng = random.Random(5)
    kills = 0
    for attempt in range(3 * KILLS):
        what = ("training", "writing", "evaluating")[attempt % 3]
        killed = kill_while(what, begin(phantoms, save, "--resume"), save, rng)
        kills += killed
        print(f"killed while {what}" if killed else "over before it was killed", tree(save))
        if kills == KILLS or not killed:
            break
    last = subprocess.run(command(phantoms, save, "--resume"), capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert kills == KILLS
    same_run(save, uninterrupted)


def test_another_optimiser_is_killed_and_goes_on_too_and_adam_does_not_take_it_over(
    phantoms, fails, tmp_path
):
    whole, save = tmp_path / "whole" / "save", tmp_path / "killed" / "save"
    words = command(phantoms, whole, script=MOMENTUM)
    subprocess.run(words, check=True, capture_output=True)
    process = begin(phantoms, save, script=MOMENTUM)
    for line in process.stdout:
        if line.startswith("step 3/6"):
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    words = command(phantoms, save, "--resume", script=MOMENTUM)
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert f"going on from {save}/epoch_1_step_" in printed
    same_run(save, whole)
    error = fails("train.py", *command(phantoms, save, "--resume", "--epochs", 3)[2:])
    assert "optimizer.pdopt: Adam needs a tensor conv2d_0.w_0_moment1_0 of shape" in error
    assert "there is none; go on with the optimiser of that run, or remove" in error


@pytest.mark.parametrize(
    ("number", "times", "when"),
    [
        pytest.param(signal.SIGTERM, 1, "step 1/6", marks=pytest.mark.rare),
        (signal.SIGINT, 1, "step 1/6"),  # Ctrl-C
        (signal.SIGTERM, 3, "Epoch 1/2"),  # before the worker processes are there
    ],
)
def test_a_run_whose_processes_are_asked_to_stop_saves_and_says_how_to_go_on(
    phantoms, uninterrupted, tmp_path, number, times, when
):
    """The signal goes to the process group, workers among it, as a terminal or Slurm sends it."""
    save = tmp_path / "save"
    process = begin(phantoms, save, "--num-workers", 2)
    for line in process.stdout:
        if line.startswith(when):
            break
    for _ in range(times):  # as Paddle's launcher does
        os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 128 + number and "Traceback" not in errors, errors
    last = output.splitlines()[-1]
    assert last.startswith(f"{number.name}: saved {save}/epoch_1")
    assert last.endswith("--resume goes on from there")
    with pytest.raises(ProcessLookupError):  # no worker process is left
        os.killpg(process.pid, 0)
    subprocess.run(command(phantoms, save, "--resume"), check=True, capture_output=True)
    same_run(save, uninterrupted)


def test_workers_make_no_difference(phantoms, uninterrupted, tmp_path):
    words = command(phantoms, tmp_path / "save", "--num-workers", 0)
    subprocess.run(words, check=True, capture_output=True)
    same_run(tmp_path / "save", uninterrupted)


def test_another_seed_is_another_run(uninterrupted, other_seed):
    other = (other_seed / "metrics.csv").read_text()
    assert other != (uninterrupted / "metrics.csv").read_text()


def test_a_run_is_not_overwritten_and_goes_on_with_its_own_options_only(
    phantoms, uninterrupted, fails
):
    def times():
        return {name: (uninterrupted / name).stat().st_mtime_ns for name in tree(uninterrupted)}

    before = times()
    words = command(phantoms, uninterrupted)[2:]
    assert "2 of an earlier run; go on with it (--resume)" in fails("train.py", *words)
    words += ["--resume", "--batch-size", 5]
    assert "want batch_size 4 as in its config.json, got 5" in fails("train.py", *words)
    assert times() == before


def test_an_older_run_had_the_default_of_an_option_that_its_config_lacks(
    phantoms, uninterrupted, fails, tmp_path
):
    shutil.copytree(uninterrupted, tmp_path / "save")
    config = json.loads((tmp_path / "save" / "config.json").read_text())
    del config["window"]
    (tmp_path / "save" / "config.json").write_text(json.dumps(config))
    words = [*command(phantoms, tmp_path / "save")[2:], "--resume", "--window", "100,50"]
    assert "want window None as in its config.json, got [100.0, 50.0]" in fails("train.py", *words)


def test_a_run_whose_options_are_gone_does_not_go_on(phantoms, uninterrupted, fails, tmp_path):
    shutil.copytree(uninterrupted, tmp_path / "save")
    words = [*command(phantoms, tmp_path / "save")[2:], "--resume"]
    path = tmp_path / "save" / "config.json"
    for text in ('{"seed": 0', "[]"):
        path.write_text(text)
        said = f"{path}: want the options that the run was begun with, got no such file, or another"
        assert said in fails("train.py", *words)


@pytest.mark.rare
def test_scalars_for_visualdl_count_on_where_a_run_goes_on(phantoms, tmp_path):
    visualdl = pytest.importorskip("visualdl")
    save, folder = tmp_path / "save", tmp_path / "scalars"
    for words in (["--epochs", 1], ["--epochs", 2, "--resume"]):
        words += ["--visualdl", folder]
        subprocess.run(command(phantoms, save, *words), check=True, capture_output=True)
    with open(save / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {"train/loss": [], "val/loss": [], "val/AUROC_avg": [], "learning_rate": []}
    for path in sorted(folder.iterdir()):
        reader = visualdl.LogReader(file_path=str(path))
        for tag in found:
            found[tag] += [(point.id, point.value) for point in reader.get_data("scalar", tag)]
    assert [step for step, _ in found["train/loss"]] == list(range(1, 13))
    for tag, column in {"val/loss": "val_loss", "val/AUROC_avg": "val_AUROC_avg"}.items():
        expected = [(epoch, float(row[column])) for epoch, row in enumerate(rows, 1)]
        assert found[tag] == [(epoch, pytest.approx(value)) for epoch, value in expected]


def test_only_so_many_checkpoints_are_kept(uninterrupted, other_seed):
    assert [name for name in tree(uninterrupted) if "/" not in name] == [
        "best_model.pdparams",
        "config.json",
        "curves.png",
        "curves.svg",
        "epoch_1",
        "epoch_2",
        "metrics.csv",
    ]
    assert sorted(other_seed.glob("epoch_*")) == [other_seed / "epoch_2"]
    assert (other_seed / "best_model.pdparams").exists()
