"""Another number of findings: only `CLASS_NAMES` is changed, in a copy of the project."""

import json
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers.places import MAP_SIZES, ROOT
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path):
    """Copy the project with so many findings: `project(15)` -> a function that runs a script.

    Those behind NIH's 14 are `added`, then Other_0 and so on.
    """

    def make(count, *added):
        folder = tmp_path / "project"
        names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
        if names.returncode:
            pytest.skip("not a git checkout")
        for name in names.stdout.splitlines():
            if name.endswith((".py", ".jinja")) and not name.startswith("tests/"):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        path = folder / "films" / "label_lists.py"
        found = re.search(r"CLASS_NAMES = \((.*?)\n\)", path.read_text(), re.S)
        classes = re.findall(r'"(\w+)"', found[1])
        classes = (classes + [*added, *(f"Other_{n}" for n in range(count))])[:count]
        text = path.read_text().replace(found[0], f"CLASS_NAMES = {tuple(classes)!r}")
        path.write_text(text)

        def run(script, *words, status=0):
            command = [sys.executable, folder / script, *map(str, words)]
            result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
            assert result.returncode == status, result.stderr
            return result

        return run, classes

    return make


def test_another_number_of_findings_goes_through_every_command(project, phantoms, tmp_path):
    count = 15
    run, classes = project(count)
    data = tmp_path / "data"
    (data / "labels").mkdir(parents=True)
    (data / "images").symlink_to(phantoms / "images")
    for part in ("train", "val", "test"):
        lines = (phantoms / "labels" / f"{part}_list.txt").read_text().splitlines()
        flags = [[str((n >> c % 3) % 2) for c in range(count)] for n in range(len(lines))]
        rows = [
            f"{line.split()[0]} {' '.join(row)}" for line, row in zip(lines, flags, strict=True)
        ]
        (data / "labels" / f"{part}_list.txt").write_text("\n".join(rows))
    sizes = [*MAP_SIZES, "--data-dir", data, "--num-workers", 0, "--batch-size", 12]
    words = ["--pretrained", "none", "--epochs", 1, "--save-dir", "save", "--log-dir", "logs"]
    run("train.py", *sizes, *words)
    assert pathlib.Path(tmp_path / "save" / "epoch_1").is_dir()
    with Image.open(tmp_path / "save" / "curves.png") as curves:
        assert curves.size == (1500, 1020)  # three rows of panels
    weights = ["--weights", "save/best_model.pdparams"]
    rng = np.random.default_rng(0)
    val_names = [row.split()[0] for row in (data / "labels/val_list.txt").read_text().splitlines()]
    rows = [f"{n},{','.join(map(str, rng.random(count).astype(np.float32)))}" for n in val_names]
    header = ",".join(["Image Index", *(f"prob_{name}" for name in classes)])
    (tmp_path / "val.csv").write_text("\n".join([header, *rows]))
    words = ["--reference-from", "val.csv", "--output-dir", "result"]
    result = run("eval.py", *sizes, *weights, *words)
    lines = [line for line in result.stdout.splitlines() if line.startswith("The AUROC of ")]
    assert [line.split()[3] for line in lines] == classes
    metrics = json.loads((tmp_path / "result" / "metrics.json").read_text())
    assert [*metrics["auroc_95_percent"]] == classes
    assert all(len(interval) == 2 for interval in metrics["auroc_95_percent"].values())
    assert len(metrics["auroc_mean_95_percent"]) == 2
    page = (tmp_path / "result" / "report.html").read_text()
    assert all(page.count(f"<td>{name}</td>") for name in classes)
    film = sorted((phantoms / "images").iterdir())[-1]
    reference = ["--reference", "result/operating_points.json"]
    run("predict.py", film, *MAP_SIZES, *weights, *reference, "--output-dir", "predicted")


NIH_TABLE = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position
00000001_000.png,Cardiomegaly|Mass,0,1,58,M,PA
00000002_000.png,No Finding,0,2,61,F,AP
"""


def test_a_finding_that_nih_never_labelled_is_unknown(project, tmp_path):
    """A column of zeros would teach that no film has it."""
    run, _ = project(15, "Fracture")
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(NIH_TABLE)
    words = ["labels", "--from", "nih", "Data_Entry_2017_v2020.csv", "--output", "list.csv"]
    assert "not known of any film: Fracture" in run("prepare_data.py", *words).stdout
    header, *rows = (tmp_path / "list.csv").read_text().splitlines()
    assert "Fracture" not in header and [row.count(",1") for row in rows] == [2, 0]
    labels = tmp_path / "data" / "labels"
    labels.mkdir(parents=True)
    shutil.copy(tmp_path / "Data_Entry_2017_v2020.csv", labels)
    result = run("prepare_data.py", "split", "--data-dir", "data", "--nih-lists", ".", status=2)
    assert "NIH's tables do not label Fracture" in result.stderr
    run("demo/phantoms.py", "--output-dir", "demo", "--train", 4, "--val", 2, "--test", 2)
    assert len((tmp_path / "demo/labels/train_list.txt").read_text().split()) == 4 * (1 + 15)


def test_a_table_of_all_findings_makes_a_list_of_two(project, tmp_path):
    run, _ = project(2)
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(NIH_TABLE)
    words = ["labels", "--from", "nih", "Data_Entry_2017_v2020.csv", "--output", "list.csv"]
    run("prepare_data.py", *words)
    rows = (tmp_path / "list.csv").read_text().splitlines()
    assert [row.split(",")[2:] for row in rows] == [
        ["Atelectasis", "Cardiomegaly"],
        ["0", "1"],
        ["0", "0"],
    ]
