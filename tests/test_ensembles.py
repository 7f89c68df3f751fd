"""The mean of several predictions.csv, by eval.py's own functions and by its command."""

import json

import numpy as np
import pytest
from helpers.evaluations import NAMES, run

import eval as evaluation_script
from evaluation.eval_folder import check_folder, source_of
from evaluation.predictions_csv import mean_predictions, read_predictions
from films.label_lists import CLASS_NAMES
from metrics import auroc
from runtime.files import UserError, sha256


def test_an_ensemble_is_the_mean_of_probabilities(members, monkeypatch, capsys):
    paths, labels, folder = members
    each = [read_predictions(path, NAMES) for path in paths]
    expected = np.mean(each, axis=0, dtype=np.float64).astype(np.float32)
    assert np.array_equal(mean_predictions(paths[:1], NAMES), each[0])  # to the bit
    words = ["--data-dir", folder, "--no-intervals", "--no-report", "--output-dir", folder / "mean"]
    run(monkeypatch, *words, "--predictions", *paths)
    assert np.array_equal(read_predictions(folder / "mean/predictions.csv", NAMES), expected)
    metrics = json.loads((folder / "mean" / "metrics.json").read_text())
    assert list(metrics["auroc"].values()) == list(auroc(labels, expected))
    facts = metrics["predictions"]["mean_of"]
    assert [(fact["path"], fact["sha256"]) for fact in facts] == [(p, sha256(p)) for p in paths]
    # Whose mean it is goes on with it.
    again = source_of([str(folder / "mean" / "predictions.csv")])["predictions"]
    assert again["mean_of"] == facts and again["sha256"] == metrics["predictions_sha256"]


def test_a_member_s_network_is_recorded(members):
    paths, _, folder = members
    made = {"predictions_sha256": sha256(paths[1]), "crops": 10, "weights": {"path": "w"}}
    (folder / "1" / "metrics.json").write_text(json.dumps(made))
    found = source_of(paths)["predictions"]["mean_of"]
    assert found[1] == {
        "path": paths[1],
        "sha256": sha256(paths[1]),
        "weights": {"path": "w"},
        "crops": 10,
    }
    assert found[0] == {"path": paths[0], "sha256": sha256(paths[0])}


def test_a_mean_does_not_replace_one_of_its_members(members):
    paths, _, folder = members
    with pytest.raises(UserError, match="got the folder of one of them"):
        check_folder(str(folder / "2"), paths)
    check_folder(str(folder / "2"), paths[2:])  # one file is written as it was


def test_ensembles_are_compared(members, monkeypatch, capsys):
    paths, labels, folder = members
    words = ["--data-dir", folder, "--output-dir", folder]
    run(monkeypatch, *words, "--compare", *paths[:2], "--compare", paths[2])
    found = json.loads((folder / "comparison.json").read_text())
    aurocs = [auroc(labels, mean_predictions(side, NAMES)) for side in (paths[:2], paths[2:])]
    assert [found["difference"][name] for name in CLASS_NAMES] == list(aurocs[0] - aurocs[1])
    assert [fact["path"] for fact in found["a"]["mean_of"]] == paths[:2]
    assert found["b"] == {"path": paths[2], "sha256": sha256(paths[2])}
    assert f"AUROC of the mean of {paths[0]}, {paths[1]}\nminus AUROC" in capsys.readouterr().out


def test_a_comparison_stands_alone(monkeypatch, capsys):
    words = ["eval.py", "--compare", "a.csv", "b.csv"]
    monkeypatch.setattr("sys.argv", words)
    for more in ("--predictions", "--thresholds-from", "--reference-from"):
        monkeypatch.setattr("sys.argv", [*words, more, "c.csv", "--output-dir", "out"])
        with pytest.raises(SystemExit):
            evaluation_script.parse_args()
        assert "--compare stands alone" in capsys.readouterr().err


@pytest.mark.parametrize("sides", [["a"], ["a", "b", "c"]])
def test_a_comparison_has_two_sides(sides, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run(monkeypatch, "--compare", *sides)
    assert exit.value.code == 2 and "--compare takes two files" in capsys.readouterr().err
