"""All steps of reproduce.py on phantoms from a mirror on 127.0.0.1; killed; and what goes wrong."""

import gzip
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from helpers.folders import tree
from helpers.mirror import fill
from helpers.places import ROOT

torch = pytest.importorskip("torch")

from helpers.torch_checkpoints import FORMATS, rewritten, write

import reproduce
from benchmarks.torch_densenet import lively_densenet
from reproduction import results
from runtime.files import UserError, read_json, sha256
from weights.weight_files import read_weights

pytestmark = pytest.mark.slow

SIZES = ["--resize", 72, "--crop-size", 64]
TRAINING = [*SIZES, "--pretrained", "none", "--epochs", 1, "--batch-size", 2, "--num-workers", 0]
TRAINING += ["--device", "cpu"]
# NIH's tables, without a line.
TABLES = {
    "Data_Entry_2017_v2020.csv.gz": "Image Index,Finding Labels,Patient Age,Patient Gender,"
    "View Position\n",
    "BBox_List_2017.csv.gz": "Image Index,Finding Label,Bbox [x,y,w,h]\n",
}
STEPS = ["download", "check", "cache", "convert", "evaluate theirs", "train", "evaluate own"]
STEPS += ["compare"]
# All of ChestX-ray14 needs 58 GB, which a test's machine need not have.
ROOMY = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(*[10**12] * 3)\n"
# Eight attempts to download take two minutes otherwise.
HURRY = "from public_data import transfer; transfer.LONGEST_WAIT = 0\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The content of a file of the published checkpoint's form."""
    path = tmp_path_factory.mktemp("published") / "model.pth.tar"
    change, form = FORMATS["reference"]
    write(rewritten(lively_densenet(seed=5).state_dict(), **change), str(path), **form)
    return path.read_bytes()


@pytest.fixture
def mirror(server, phantoms, checkpoint):
    fill(server, phantoms)
    server.files |= {name: gzip.compress(table.encode()) for name, table in TABLES.items()}
    server.files["model.pth.tar"] = checkpoint
    return server


@pytest.fixture(autouse=True)
def room(tmp_path_factory, monkeypatch):
    """Processes begin with this file: one finds 1 TB of free disk, and waits for no server."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "sitecustomize.py").write_text(ROOMY + HURRY)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")


def words(mirror, *more):
    """The options of a small run, in the working folder."""
    return ["--data-dir", "data", "--url-base", mirror.base, "--crops", 1, *TRAINING, *more]


def signalled(mirror, folder, sign, number=signal.SIGKILL):
    """Start reproduce.py, send it a signal when a line begins with `sign`; return its lines."""
    process = subprocess.Popen(
        [sys.executable, ROOT / "reproduce.py", *map(str, words(mirror, "--no-verify"))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if number and line.startswith(sign):
            process.send_signal(number)
            number = 0  # its last step ends by itself, some time after it
    status = process.wait()
    assert not number, "".join(lines)
    return status, lines


def steps_there(mirror, monkeypatch, *more):
    """The names of the steps whose results are there, in the working folder."""
    command = ["reproduce.py", *map(str, words(mirror, *more))]
    monkeypatch.setattr(sys, "argv", command)
    args = reproduce.parse_args()
    places = reproduce.find_places(args)
    starts = results.starting_weights(places.checkpoint, args.pretrained)
    found = results.look(args.data_dir, places.lists, starts)
    steps = reproduce.make_steps(args, places, starts, found, on_cpu=True)
    assert [step.name for step in steps] == STEPS
    return [step.name for step in steps if step.is_there()]


def test_a_run_killed_three_times_ends_as_if_nothing_had_been(
    script, mirror, phantoms, tmp_path, monkeypatch
):
    mirror.tricks["images_003.tar.gz"] = ["hold"]
    for sign in ("images_003.tar.gz", "=> loaded checkpoint", "step 10/12"):
        status, lines = signalled(mirror, tmp_path, sign)
        assert status == -signal.SIGKILL
    assert lines[-1].startswith("SIGTERM: saved save/reproduce/epoch_1_step_1")  # Linux sent it
    result = script("reproduce.py", *words(mirror, "--no-verify"), cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    done = [line for line in result.stdout.splitlines() if line.endswith(": is there")]
    assert done == [f"[{n}/8] {name}: is there" for n, name in enumerate(STEPS[:5], 1)]
    assert "going on from save/reproduce/epoch_1_step_1" in result.stdout

    uninterrupted = ["--data-dir", phantoms, *TRAINING, "--save-dir", "whole"]
    assert script("train.py", *uninterrupted, cwd=tmp_path).returncode == 0
    ours, theirs = tmp_path / "save" / "reproduce", tmp_path / "whole"
    assert (ours / "metrics.csv").read_text() == (theirs / "metrics.csv").read_text()
    weights = [read_weights(str(folder / "best_model.pdparams")) for folder in (ours, theirs)]
    for name, array in weights[1].items():
        np.testing.assert_array_equal(weights[0][name], array)

    table = (tmp_path / "result" / "reproduce" / "table.txt").read_text()
    assert result.stdout.endswith(f"\n{table}")
    assert "The 12 films are not the published test list" in table
    assert "'published, here' is NOT of the published checkpoint" in table
    rows = {line[:18].strip(): line[18:].split() for line in table.splitlines()}
    assert rows["test films"] == ["22,433", "12", "12"]
    assert rows["training films"] == ["78,468", "unknown", "24"]
    results = tmp_path / "result" / "reproduce"
    found = [read_json(results / name / "metrics.json") for name in ("published", "own")]
    aurocs = [f"{metrics['auroc']['Hernia']:.3f}" for metrics in found]
    assert [rows["Hernia"][n] for n in (0, 1, 5)] == ["0.9104", *aurocs]
    assert found[1]["weights"]["sha256"] == sha256(ours / "best_model.pdparams")
    assert tree(tmp_path / "pretrained_models") == ["model.pth.tar", "model_from_torch.pdparams"]
    every_result_is_of_its_inputs(mirror, monkeypatch, tmp_path)


def every_result_is_of_its_inputs(mirror, monkeypatch, folder):
    """Change one thing after the other; see which steps are no longer done, and put it back."""
    monkeypatch.chdir(folder)
    assert steps_there(mirror, monkeypatch) == STEPS
    film = next((folder / "data" / "images_001" / "images").iterdir())
    result = folder / "result" / "reproduce"
    for path, again in {
        film: ["check", "cache"],
        folder / "data" / "labels" / "test_list.txt": [
            *("check", "evaluate theirs", "evaluate own", "compare")
        ],
        folder / "pretrained_models" / "model.pth.tar": ["convert"],
        folder / "pretrained_models" / "model_from_torch.pdparams": ["convert", "evaluate theirs"],
        folder / "save" / "reproduce" / "best_model.pdparams": ["evaluate own"],
        result / "own" / "predictions.csv": ["evaluate own", "compare"],
    }.items():
        before, state = path.read_bytes(), path.stat()
        path.write_bytes(before + b"\n")
        there = steps_there(mirror, monkeypatch)
        assert [name for name in STEPS if name not in there] == again, path
        path.write_bytes(before)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    (result / "published" / "report.html").rename(folder / "report.html")
    assert "evaluate theirs" not in steps_there(mirror, monkeypatch)
    (folder / "report.html").rename(result / "published" / "report.html")
    assert "train" not in steps_there(mirror, monkeypatch, "--epochs", 2)
    few = folder / "few.txt"
    few.write_text("\n".join((folder / "data/labels/test_list.txt").read_text().splitlines()[:9]))
    there = steps_there(mirror, monkeypatch, "--test-list", few)
    assert there == ["download", "cache", "convert", "train"]
    with pytest.raises(UserError, match="want --pretrained imagenet, got a run from none"):
        steps_there(mirror, monkeypatch, "--pretrained", "imagenet")


def test_what_goes_wrong_is_one_error_line_and_loses_nothing(
    script, fails, mirror, tmp_path, monkeypatch
):
    run = ["reproduce.py", *words(mirror)]
    error = fails(*run, cwd=tmp_path)
    assert "train_list.txt.wrong: want sha256 332d49fb" in error
    assert [name for name in tree(tmp_path) if name.startswith("data/")] == [
        "data/labels",
        "data/labels/train_list.txt.wrong",
    ]

    mirror.tricks["images_002.tar.gz"] = ["cut", *["503"] * 100]
    error = fails(*run, "--no-verify", cwd=tmp_path)
    assert "images_002.tar.gz: nothing came in 8 attempts (HTTP 503)" in error
    part = tmp_path / "data" / "images_002.tar.gz.part"
    came = part.stat().st_size
    assert came and (tmp_path / "data" / "images_001" / "images").is_dir()

    mirror.tricks = {"images_003.tar.gz": ["hold"]}
    before = len(mirror.requests)
    status, lines = signalled(mirror, tmp_path, "images_003.tar.gz", signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert lines[-1] == "stopped in download; the same command goes on from there\n"
    asked = [request for request in mirror.requests[before:] if request[0] == "GET"]
    assert asked == [
        ("GET", "images_002.tar.gz", f"bytes={came}-"),
        ("GET", "images_003.tar.gz", None),
    ]


def test_the_plan_does_nothing_and_a_disk_that_is_too_small_is_told_in_it(
    mirror, fails, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["reproduce.py", *map(str, words(mirror, "--dry-run"))])
    args = reproduce.parse_args()
    reproduce.main(args)
    plan = plan_of(capsys.readouterr().out)
    assert [name for name, _, _ in plan] == STEPS
    assert all(command.startswith("python ") for _, _, command in plan)
    # 112,120 films of 72 x 72 bytes, as no list is there yet to count.
    assert "0.58 GB" in plan[2][1] and "unknown" in plan[0][1]
    assert mirror.requests == []
    args.resize = 100_000  # 112,120 films of 10 GB
    reproduce.main(args)
    warning = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(r"warning: data: want 11212\d\d\.\d GB of free disk, got .*", warning)
    assert "GB of free disk" in fails("reproduce.py", *words(mirror, "--resize", 100_000))
    assert tree(tmp_path) == []


def plan_of(text):
    """Return (name, line, command) of each step of a plan."""
    text = text.replace(" \\\n        ", " ")  # a long command goes on in the next line
    lines = text.partition("\n")[2].partition("\nDisk: ")[0].splitlines()
    return [
        (line.split("to do")[0].strip(), line, command.strip())
        for line, command in zip(lines[::2], lines[1::2], strict=True)
    ]


def test_the_plan_is_shown_without_any_package_as_it_is_with_them(mirror, script, tmp_path):
    command = [*words(mirror, "--dry-run")]
    bare = subprocess.run(
        [sys.executable, "-S", ROOT / "reproduce.py", *map(str, command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    whole = script("reproduce.py", *command, cwd=tmp_path)
    assert bare.returncode == whole.returncode == 0, bare.stderr
    assert [step[2] for step in plan_of(bare.stdout)] == [step[2] for step in plan_of(whole.stdout)]
    assert bare.stdout.endswith("this is the plan where nothing is there.\n")
    assert max(map(len, bare.stdout.splitlines())) <= 100
    assert tree(tmp_path) == []


def test_a_list_is_parsed_once_until_it_changes(phantoms, tmp_path, monkeypatch):
    parsed = []
    read = results.read_label_list
    monkeypatch.setattr(results, "read_label_list", lambda path: parsed.append(path) or read(path))
    path = tmp_path / "list.txt"
    path.write_bytes((phantoms / "labels" / "test_list.txt").read_bytes())
    assert len(results.listed_films(str(path))) == len(results.listed_films(str(path))) == 12
    assert len(parsed) == 1
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    assert len(results.listed_films(str(path))) == 5 and len(parsed) == 2
