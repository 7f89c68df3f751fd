"""The scripts end to end, on phantoms and on real films."""

import csv
import json
import os
import re
import shutil

import numpy as np
import pytest
from helpers.folders import tree
from sklearn.metrics import roc_auc_score

from films.label_lists import CLASS_NAMES, read_label_list
from runtime.files import sha256
from weights.untrusted_files import read_pickle

pytestmark = pytest.mark.slow

SMALL = ["--resize", 72, "--crop-size", 64]


def read_predictions(path):
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["Image Index", *(f"prob_{name}" for name in CLASS_NAMES)]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], np.float32)


def table(stdout):
    """Check the lines of eval.py's output and return its AUROCs."""
    lines = stdout.splitlines()
    assert lines[:3] == ["=> loading checkpoint", "=> loaded checkpoint", "The final AUROCs: "]
    assert re.fullmatch(
        r"The average AUROC is (0\.\d{3}|nan)( \(over \d+ of 14 classes\))?", lines[3]
    )
    assert len(lines) == 18
    aurocs = []
    for name, line in zip(CLASS_NAMES, lines[4:], strict=True):
        assert line.startswith(f"The AUROC of {name} is ")
        aurocs.append(float(line.split()[-1]))
    return aurocs


def test_train_then_eval_on_phantoms(script, phantoms, tmp_path):
    save, logs = tmp_path / "save", tmp_path / "logs"
    options = ["--pretrained", "none", "--batch-size", 8, "--epochs", 2, "--decay_epochs=2"]
    folders = ["--data_dir", phantoms, "--save-dir", save, "--log-dir", logs]
    result = script("train.py", *folders, *SMALL, *options, "--log-freq", 2)
    assert result.returncode == 0, result.stderr
    number = r"(\d\.\d{4}|\d\.\d{4}e-\d\d|nan)"
    line = rf"step 2/3 - loss: {number} - AUROC_Atelectasis: {number} - .* - AUROC_avg: {number} - "
    assert len(re.findall(line, result.stdout)) == 2

    (log,) = logs.iterdir()
    assert log.read_text() == result.stdout
    config = json.loads((save / "config.json").read_text())
    assert (config["epochs"], config["decay_epochs"], config["learning_rate"]) == (2, [2], 0.001)
    shown = {word for line in result.stdout.splitlines() for word in line.split("  ")}
    assert {"learning_rate=0.001", "decay_epochs=2", f"paddle={config['paddle']}"} < shown
    assert {f"{key}={value}" for key, value in config.items() if key != "decay_epochs"} <= shown
    for epoch in ("epoch_1", "epoch_2"):
        assert sorted(p.name for p in (save / epoch).iterdir()) == [
            "optimizer.pdopt",
            "run.pdstate",
            "weights.pdparams",
        ]
    rates = [
        read_pickle(save / epoch / "optimizer.pdopt")["LR_Scheduler"]["last_lr"]
        for epoch in ("epoch_1", "epoch_2")
    ]
    assert rates == pytest.approx([0.001, 0.0001])  # each is the rate of the epoch that follows

    weights, output = save / "best_model.pdparams", tmp_path / "result"
    words = ["--data-dir", phantoms, *SMALL, "--weights", weights, "--no-report"]
    words += ["--output-dir", output]
    result = script("eval.py", *words, "--batch-size", 5)
    assert result.returncode == 0, result.stderr
    assert "3/3" in result.stderr  # the bar over batches
    aurocs = table(result.stdout)
    names, probs = read_predictions(output / "predictions.csv")
    listed, labels = read_label_list(phantoms / "labels" / "test_list.txt")
    assert names == listed
    report = json.loads((output / "metrics.json").read_text())
    for c, name in enumerate(CLASS_NAMES):
        if labels[:, c].min() == labels[:, c].max():
            assert np.isnan(aurocs[c]) and report["auroc"][name] is None
        else:
            assert aurocs[c] == pytest.approx(roc_auc_score(labels[:, c], probs[:, c]), abs=1e-12)
            assert report["auroc"][name] == aurocs[c]
    assert report["weights"]["sha256"] == sha256(weights)
    assert (report["images"], report["crops"], report["resize"]) == (12, 10, 72)


def test_sizes_come_with_the_weights(forked, fails, phantoms, random_weights, evaluated, tmp_path):
    folder = tmp_path / "save" / "epoch_2"
    folder.mkdir(parents=True)
    weights = folder / "weights.pdparams"
    weights.symlink_to(random_weights)
    config = tmp_path / "save" / "config.json"
    config.write_text('{"resize": 72, "crop_size": 64}')
    words = ["--data-dir", phantoms, "--weights", weights, "--no-intervals"]
    output = ["--no-report", "--output-dir", tmp_path / "result", "--batch-size", 5]
    result = forked("eval.py", *words, *output)
    assert result.returncode == 0, result.stderr
    assert f"{config}: trained with --resize 72 --crop-size 64" in result.stderr
    # The predictions of these sizes as options, in whatever batches.
    ours, theirs = (
        read_predictions(folder / "predictions.csv")[1]
        for folder in (tmp_path / "result", evaluated)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    table_of_72 = table(result.stdout)
    result = forked("eval.py", *words, "--resize", 80)
    assert f"warning: --resize 80, but the weights were trained with 72 ({config})" in result.stderr
    assert table(result.stdout) != table_of_72
    config.write_text("{")
    assert f"{config}: not the config.json of train.py" in fails("eval.py", *words)


def test_the_rate_can_stay(forked, phantoms, tmp_path):
    folders = ["--data-dir", phantoms, "--save-dir", tmp_path / "save", "--log-dir", tmp_path]
    words = ["--pretrained", "none", "--batch-size", 12, "--epochs", 2, "--decay-epochs", ""]
    result = forked("train.py", *folders, *SMALL, *words)
    assert result.returncode == 0, result.stderr
    with open(tmp_path / "save" / "metrics.csv", newline="") as file:
        assert [row["learning_rate"] for row in csv.DictReader(file)] == ["0.001", "0.001"]
    line = r"^epoch (\d)/2: train loss .*, val AUROC_avg .*, rate 0\.001"
    assert re.findall(line, result.stdout, re.M) == ["1", "2"]
    weights = tmp_path / "save" / "best_model.pdparams"
    last = f"next: python eval.py --data-dir {phantoms} --weights {weights}"
    assert result.stdout.splitlines()[-1] == last


def test_a_run_can_start_from_weights(forked, phantoms, random_weights, tmp_path):
    folders = ["--data-dir", phantoms, "--save-dir", tmp_path / "save", "--log-dir", tmp_path]
    words = ["--weights", random_weights, "--epochs", 1, "--learning-rate", 1e-12]
    result = forked("train.py", *folders, *SMALL, *words, "--batch-size", 8)
    assert result.returncode == 0, result.stderr
    before = read_pickle(random_weights)
    after = read_pickle(tmp_path / "save" / "epoch_1" / "weights.pdparams")
    # At that rate the weights stay; running statistics move on.
    for name in ("densenet121.out.0.weight", "densenet121.conv1_func._conv.weight"):
        np.testing.assert_allclose(after[name], before[name], atol=1e-9)
    statistics = "densenet121.conv1_func._batch_norm._mean"
    assert np.abs(after[statistics] - before[statistics]).max() > 0.01


def expected_predictions(shared, folder):
    with open(shared / "reference" / "expected_predictions.csv", newline="") as file:
        _, *rows = csv.reader(file)
    rows = [row[1:] for row in rows if row[0] == folder]
    return [row[0] for row in rows], np.array([row[1:] for row in rows], np.float64)


# FILMS=300 for all of both, which takes minutes.
@pytest.mark.parametrize(
    ("folder", "films"),
    [
        ("sample", min(14, int(os.environ.get("FILMS", "8")))),
        pytest.param("sample_256", int(os.environ.get("FILMS", "16")), marks=pytest.mark.rare),
    ],
)
def test_real_films_get_pytorch_s_predictions(
    script, shared, reference_weights, tmp_path, folder, films
):
    test_list = tmp_path / "test_list.txt"
    lines = (shared / folder / "labels" / "test_list.txt").read_text().splitlines()
    test_list.write_text("\n".join(lines[:films]))
    words = ["--data-dir", shared / folder, "--weights", reference_weights, "--batch-size", 8]
    words += ["--test-list", test_list]
    words += ["--no-report", "--output-dir", tmp_path / "result"]
    result = script("eval.py", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["result", "test_list.txt"]
    names, probs = read_predictions(tmp_path / "result" / "predictions.csv")
    expected_names, expected = expected_predictions(shared, folder)
    expected = expected[:films]
    assert names == expected_names[:films] and len(names) == films
    difference = np.abs(probs - expected).max()
    print(f"{folder}: largest difference {difference:.1e}")
    assert difference <= 1e-5
    _, labels = read_label_list(test_list)
    for c, ours in enumerate(table(result.stdout)):
        if 0 < labels[:, c].sum() < films:
            theirs = roc_auc_score(labels[:, c], expected[:, c])
            assert ours == pytest.approx(theirs, abs=1e-6)
        else:
            assert np.isnan(ours)


@pytest.fixture(scope="module")
def two_networks(forked, evaluated, phantoms, random_weights, once):
    """The folders of what eval.py wrote with ten crops and with one."""

    def evaluate(folder):
        words = ["--data-dir", phantoms, "--weights", random_weights, *SMALL, "--crops", 1]
        result = forked("eval.py", *words, "--no-report", "--output-dir", folder)
        assert result.returncode == 0, result.stderr

    return evaluated, once("one_crop", evaluate)


@pytest.fixture(scope="module")
def from_predictions(forked, evaluated, phantoms, once):
    """The folder that eval.py wrote of predictions alone, and what it said on stderr."""

    def evaluate(folder):
        words = ["--data-dir", phantoms, "--predictions", evaluated / "predictions.csv"]
        result = forked("eval.py", *words, "--output-dir", folder / "result")
        assert result.returncode == 0, result.stderr
        (folder / "stderr.txt").write_text(result.stderr)

    folder = once("from_predictions", evaluate)
    return folder / "result", (folder / "stderr.txt").read_text()


def test_every_figure_comes_back_from_the_predictions(evaluated, from_predictions):
    folder, said = from_predictions
    assert (folder / "predictions.csv").read_text() == (evaluated / "predictions.csv").read_text()
    again = json.loads((folder / "metrics.json").read_text())
    first = json.loads((evaluated / "metrics.json").read_text())
    figures = [key for key in again if key not in ("predictions", "versions")]
    assert {"auroc", "auroc_95_percent", "auroc_mean_95_percent", "interval_method"} < set(figures)
    assert all(again[key] == first[key] for key in figures)
    for name, value in again["auroc"].items():
        low, high = again["auroc_95_percent"][name]
        assert value is None or low is None or low <= value <= high
    assert "95 % intervals over " in said
    assert said.splitlines()[-1] == f"wrote {folder}: open {folder}/report.html"
    assert (folder / "report.html").exists()


def test_a_folder_never_holds_two_evaluations(
    forked, fails, phantoms, evaluated, from_predictions, tmp_path
):
    made = tmp_path / "made"
    shutil.copytree(evaluated, made)
    (made / "report.html").write_text("with heat maps")
    evaluated = made
    path = evaluated / "predictions.csv"
    before = {name: (evaluated / name).read_bytes() for name in tree(evaluated) if "." in name}
    words = ["--data-dir", phantoms, "--predictions", path, "--no-intervals", "--output-dir"]
    error = fails("eval.py", *words, evaluated)
    assert f"{evaluated}: it holds an evaluation with heat maps" in error
    assert {name: (evaluated / name).read_bytes() for name in before} == before
    # The same again is no trouble, and leaves no page of the time before.
    result = tmp_path / "result"
    shutil.copytree(from_predictions[0], result)
    words.insert(0, "--no-report")
    assert forked("eval.py", *words, result).returncode == 0
    assert tree(result) == ["figures", "metrics.json", "model_card.md", "predictions.csv"]
    first, again = (
        json.loads((folder / "metrics.json").read_text()) for folder in (evaluated, result)
    )
    # The score travels with its preprocessing, ...
    for key in ("weights", "crops", "crop_size", "resize", "precision", "engine"):
        assert again[key] == first[key]
    # ... but not with that of other predictions.
    other = tmp_path / "other"
    other.mkdir()
    (other / "metrics.json").write_text((evaluated / "metrics.json").read_text())
    rows = path.read_text().splitlines()
    (other / "predictions.csv").write_text("\n".join([rows[0], *rows[:0:-1]]) + "\n")
    words[words.index(path)] = other / "predictions.csv"
    assert forked("eval.py", *words, result).returncode == 0
    assert "weights" not in json.loads((result / "metrics.json").read_text())


def test_two_networks_are_compared(forked, phantoms, two_networks, tmp_path):
    paths = [folder / "predictions.csv" for folder in two_networks]
    ten_crops, one_crop = (read_predictions(path)[1] for path in paths)
    assert np.abs(ten_crops - one_crop).max() > 1e-4
    words = ["--data-dir", phantoms, "--compare", *paths, "--output-dir", tmp_path]
    result = forked("eval.py", *words)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "comparison.json").read_text())
    aurocs = [json.loads((folder / "metrics.json").read_text())["auroc"] for folder in two_networks]
    for name in CLASS_NAMES:
        a, b = aurocs[0][name], aurocs[1][name]
        if a is None:
            assert found["difference"][name] is None
        else:
            assert found["difference"][name] == pytest.approx(a - b, abs=1e-12)
            p = found["delong_p"][name]
            assert p is None or 0 <= p <= 1  # none where a class has one film, and no variance
    lines = result.stdout.splitlines()
    assert len(lines) == 4 + 1 + 14 + 1  # what is compared, headings, classes, mean
    assert max(map(len, lines[2:])) <= 100 and "DeLong's p" in lines[4]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("prob_Hernia", "prob_Ulcer", "the columns"),
        ("0.", "1.", "which is no probability of 0 to 1"),
        ("0000", "9999", "no prediction for 12 of the 12 films of --test-list"),
    ],
)
def test_predictions_that_are_not(fails, phantoms, evaluated, tmp_path, old, new, message):
    path = tmp_path / "predictions.csv"
    path.write_text((evaluated / "predictions.csv").read_text().replace(old, new))
    error = fails("eval.py", "--data-dir", phantoms, "--predictions", path)
    assert str(path) in error and message in error
    error = fails("eval.py", "--data-dir", phantoms, "--compare", path, path)
    assert str(path) in error


def test_thresholds_come_from_validation_films(
    forked, fails, phantoms, random_weights, evaluated, tmp_path
):
    words = ["--data-dir", phantoms, "--weights", random_weights, *SMALL]
    val_list = phantoms / "labels" / "val_list.txt"
    words += ["--no-report"]
    forked("eval.py", *words, "--test-list", val_list, "--output-dir", tmp_path / "val")
    val = tmp_path / "val" / "predictions.csv"
    test = evaluated / "predictions.csv"
    words = ["--data-dir", phantoms, "--predictions", test, "--no-report"]
    result = forked("eval.py", *words, "--thresholds-from", val, "--output-dir", tmp_path / "test")
    assert result.returncode == 0, result.stderr
    assert f"at thresholds from {val} (youden):" in result.stderr
    found = json.loads((tmp_path / "test" / "metrics.json").read_text())["thresholds"]
    _, labels = read_label_list(val_list)
    _, probs = read_predictions(val)
    for c, name in enumerate(CLASS_NAMES):
        threshold = found["threshold"][name]
        if 0 < labels[:, c].sum() < len(labels):
            assert np.float32(threshold) in probs[:, c]
            low, high = found["specificity_95_percent"][name]
            assert low <= found["specificity"][name] <= high
        else:
            assert threshold is None and found["f1"][name] is None

    # On the test films themselves they are refused.
    options = ["--thresholds-from", test, "--thresholds-list", phantoms / "labels/test_list.txt"]
    error = fails("eval.py", *words, *options)
    assert "thresholds are never chosen on test" in error
