"""Which films eval.py tests: what was seen in training, what cannot be read; unions of findings."""

import json
import re

import numpy as np
import pytest
from helpers.evaluations import NAMES, run, write_members
from helpers.folders import link_films
from sklearn.metrics import roc_auc_score

from evaluation.tested_films import Union, parse_union, select, union_labels, union_probs
from films.label_lists import CLASS_NAMES, LabelList, read_labels
from runtime.files import UserError, sha256

NO_FINDING = " 0" * 14


@pytest.fixture
def members(tmp_path):
    """Three predictions.csv of the 40 films of labels/test_list.txt."""
    return write_members(tmp_path)


def write_list(folder, part, names):
    path = folder / "labels" / f"{part}_list.txt"
    path.write_text("\n".join(f"{name}{NO_FINDING}" for name in names))
    return path


def evaluate(monkeypatch, folder, path, *words):
    words = ["--data-dir", folder, "--predictions", path, "--output-dir", folder / "out", *words]
    run(monkeypatch, "--no-report", *words)
    return json.loads((folder / "out" / "metrics.json").read_text())


def test_films_of_patients_in_the_lists_beside_are_told_or_left_out(members, monkeypatch, capsys):
    paths, labels, folder = members
    # Patients 0 to 2, one of them by another film; and patient 3, who is in both lists.
    train = write_list(folder, "train", [*NAMES[:2], "00000002_007.png", NAMES[3]])
    val = write_list(folder, "val", NAMES[3:5])
    flow = evaluate(monkeypatch, folder, paths[0])["flow"]
    assert flow["evaluated"]["films"] == 40 and not flow["seen"]["left_out"]
    said = capsys.readouterr().err
    how = "if the network was trained with that list, it has seen them"
    assert f"warning: 4 of 40 films are of patients in {train}, {how}; --leave-out-seen" in said
    assert f"warning: 2 of 40 films are of patients in {val}" in said
    metrics = evaluate(monkeypatch, folder, paths[0], "--leave-out-seen")
    assert metrics["flow"]["seen"] == {
        "films": 5,
        "patients": 5,
        "lists": {str(train): 4, str(val): 2},
        "left_out": True,
    }
    assert metrics["flow"]["evaluated"] == {"films": 35, "patients": 35}
    assert metrics["flow"]["listed"]["films"] == 40 and metrics["flow"]["not_listed"] == 5
    probs = np.loadtxt(paths[0], delimiter=",", skiprows=1, usecols=range(1, 15))
    expected = roc_auc_score(labels[5:, 4], probs[5:, 4].astype(np.float32))
    assert metrics["auroc"]["Mass"] == pytest.approx(expected, abs=1e-12)
    write_list(folder, "train", NAMES)
    with pytest.raises(UserError, match=r"all films were seen in training, by .*train_list\.txt"):
        evaluate(monkeypatch, folder, paths[0], "--leave-out-seen")


def test_the_lists_that_config_json_names_are_those_that_count(members, monkeypatch, capsys):
    paths, _, folder = members
    train = write_list(folder, "train", NAMES[:10])
    own = folder / "own.txt"
    own.write_text(f"{NAMES[20]}{NO_FINDING}")
    (folder / "0" / "config.json").write_text(
        json.dumps({"train_list": str(own), "train_sha256": sha256(own), "val_sha256": "gone"})
    )
    made_of = {"weights": {"path": str(folder / "0" / "best_model.pdparams"), "sha256": "ab"}}
    made_of["predictions_sha256"] = sha256(paths[0])
    (folder / "0" / "metrics.json").write_text(json.dumps(made_of))
    evaluate(monkeypatch, folder, paths[0])
    said = capsys.readouterr().err
    assert f"1 of 40 films are of patients in {own}, which the network was trained with;" in said
    assert str(train) not in said
    own.write_text("changed since")
    evaluate(monkeypatch, folder, paths[0])
    assert "warning" not in capsys.readouterr().err


def test_validation_films_may_be_predicted(members, monkeypatch, capsys):
    """The list that an epoch was chosen on is tested, to choose thresholds."""
    paths, _, folder = members
    write_list(folder, "val", NAMES)
    evaluate(monkeypatch, folder, paths[0], "--test-list", folder / "labels" / "val_list.txt")
    assert "warning" not in capsys.readouterr().err


def test_predictions_may_be_of_more_films_than_are_listed(members, monkeypatch, capsys):
    paths, _, folder = members
    lines = (folder / "labels" / "test_list.txt").read_text().splitlines()
    (folder / "labels" / "test_list.txt").write_text("\n".join(lines[10:]))
    metrics = evaluate(monkeypatch, folder, paths[0])
    assert (metrics["images"], metrics["flow"]["not_listed"]) == (30, 10)
    assert f"{paths[0]} has predictions of 10 further films" in capsys.readouterr().err
    run(monkeypatch, "--data-dir", folder, "--compare", *paths[:2])
    assert "30 films of 30 patients" in capsys.readouterr().out


def test_a_union_has_the_largest_probability_and_its_own_column(tmp_path):
    union = parse_union("Nodule or mass=Nodule,Mass")
    mass, nodule = (CLASS_NAMES.index(name) for name in ("Mass", "Nodule"))
    assert union == ("Nodule or mass", [nodule, mass])
    path = tmp_path / "list.csv"
    rows = ["a,0,0,", "b,0,1,", "c,,1,", "d,,0,", "e,,,1", "f,0,0,1", "g,1,0,0"]
    path.write_text("\n".join(["Image Index,Mass,Nodule,Nodule or mass", *rows]))
    listed = read_labels(path)
    # Of a to d by the two findings, of e to g by the column, whatever the findings say.
    found = union_labels([union], path, listed)[:, 0]
    np.testing.assert_array_equal(found, [0, 1, 1, np.nan, 1, 1, 0])
    other = Union("Other", [nodule, mass])
    found = union_labels([other], path, listed)[:, 0]
    np.testing.assert_array_equal(found, [0, 1, 1, np.nan, np.nan, 0, 1])
    probs = np.arange(28, dtype=np.float32).reshape(2, 14)
    np.testing.assert_array_equal(union_probs([union], probs), [[nodule], [14 + nodule]])
    assert union_labels([], path, listed).shape == (7, 0)


@pytest.mark.parametrize(
    "text", ["Nodule or mass", "X=Nodule", "X=Nodule,Ulcer", "=Nodule,Mass", "Mass=Nodule,Mass"]
)
def test_what_is_no_union(text):
    with pytest.raises(UserError, match="want NAME=FINDING,FINDING with findings of Atelectasis"):
        parse_union(text)


def test_unions_and_other_labels_are_measured(members, monkeypatch, capsys):
    paths, labels, folder = members
    rng = np.random.default_rng(5)
    others = np.where(rng.random(labels.shape) < 0.2, 1 - labels, labels)
    listed = [f"{n} {' '.join(map(str, row))}" for n, row in zip(NAMES, others, strict=True)]
    (folder / "others.txt").write_text("\n".join(listed[:30]))
    words = ["--union", "Some=Mass,Nodule", "--other-labels", folder / "others.txt"]
    words += ["--thresholds-from", paths[1], "--thresholds-list", folder / "val.txt"]
    test = (folder / "labels" / "test_list.txt").read_text()
    (folder / "val.txt").write_text(re.sub("(?m)^0", "9", test))  # other patients
    text = (folder / "1" / "predictions.csv").read_text().replace("\n0", "\n9")
    (folder / "1" / "predictions.csv").write_text(text)
    metrics = evaluate(monkeypatch, folder, paths[0], *words)
    probs = np.loadtxt(paths[0], delimiter=",", skiprows=1, usecols=range(1, 15)).astype(np.float32)
    some = [CLASS_NAMES.index("Mass"), CLASS_NAMES.index("Nodule")]
    any_of, merged = labels[:, some].max(axis=1), probs[:, some].max(axis=1)
    found = metrics["unions"]["Some"]
    expected = roc_auc_score(any_of, merged)
    assert found["auroc"] == pytest.approx(expected, abs=1e-12)
    assert found["positives"] == any_of.sum() and found["findings"] == ["Mass", "Nodule"]
    low, high = found["auroc_95_percent"]
    assert low < expected < high
    called = merged >= found["threshold"]
    assert found["sensitivity"] == pytest.approx(called[any_of == 1].mean())
    by = metrics["other_labels"]["by_finding"]
    first = roc_auc_score(labels[:, some[0]], probs[:, some[0]])
    second = roc_auc_score(others[:30, some[0]], probs[:30, some[0]])
    assert by["Mass"]["difference"] == pytest.approx(first - second, abs=1e-12)
    low, high = by["Mass"]["difference_95_percent"]
    assert low < first - second < high
    pair = labels[:30, some[0]], others[:30, some[0]]
    assert by["Mass"]["positive_in_both"] == (pair[0] & pair[1]).sum()
    assert by["Mass"]["positive_here_only"] == (pair[0] > pair[1]).sum()
    assert by["Mass"]["positive_there_only"] == (pair[1] > pair[0]).sum()
    assert by["Mass"]["labelled_by_both"] == 30 and "Some" in by
    said = capsys.readouterr().err
    assert "unions of findings, by the largest" in said and "same films:" in said
    (folder / "others.txt").write_text(f"other.png{NO_FINDING}")
    with pytest.raises(UserError, match=r"others\.txt: none of the tested films is in it"):
        evaluate(monkeypatch, folder, paths[0], "--other-labels", folder / "others.txt")


def test_labels_that_are_the_same_differ_by_nothing(members, monkeypatch):
    paths, _, folder = members
    words = ["--other-labels", folder / "labels" / "test_list.txt"]
    for found in evaluate(monkeypatch, folder, paths[0], *words)["other_labels"][
        "by_finding"
    ].values():
        assert found["difference"] == 0 and found["difference_95_percent"] == [0, 0]
        assert found["positive_here_only"] == found["positive_there_only"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("has_output", [True, False])
def test_films_that_cannot_be_read_are_left_out_when_asked(
    forked, fails, phantoms, random_weights, tmp_path, has_output
):
    data = link_films(phantoms, tmp_path / "data")
    names = read_labels(data / "labels" / "test_list.txt").names
    (data / "images" / names[1]).unlink()
    (data / "images" / names[4]).unlink()
    (data / "images" / names[4]).write_bytes((phantoms / "images" / names[4]).read_bytes()[:300])
    words = ["--data-dir", data, "--weights", random_weights, "--resize", 72, "--crop-size", 64]
    assert f"{names[1]}: no such film" in fails("eval.py", *words)
    words += ["--output-dir", tmp_path / "out"] if has_output else []
    result = forked("eval.py", *words, "--keep-going")
    assert result.returncode == 1, result.stderr
    assert f"failed: {names[1]}: no such film in {data}" in result.stderr
    assert f"failed: {names[4]}: " in result.stderr and "2 of 12 films failed" in result.stderr
    if has_output:
        metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert metrics["images"] == 10 and metrics["flow"]["failed"]["films"] == 2
        rows = (tmp_path / "out" / "failed.csv").read_text().splitlines()
        assert [row.split(",")[0] for row in rows] == ["Image Index", names[1], names[4]]
        assert "Left out: cannot be read" in (tmp_path / "out" / "report.html").read_text()


def test_selected_films_keep_their_order():
    listed = LabelList(list("abc"), np.eye(3), list("xyx"))
    names, labels, patients = select(listed, lambda name: name != "b")
    assert names == ["a", "c"] and patients == ["x", "x"]
    np.testing.assert_array_equal(labels, np.eye(3)[[0, 2]])
