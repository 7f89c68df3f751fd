"""operating_points.json: what it says of probabilities, and that predict.py can rely on it."""

import json

import numpy as np
import pytest
from helpers.evaluations import NAMES, run

from evaluation.calibration import brier_score, calibrate
from evaluation.eval_folder import why_of_others
from evaluation.operating_points import (
    Meaning,
    meaning,
    meanings,
    none_above,
    read_reference,
    reference_values,
)
from evaluation.predictions_csv import read_predictions, write_predictions
from evaluation.thresholds import choose_thresholds
from films.label_lists import CLASS_NAMES
from runtime.files import UserError, sha256
from web.site_folder import read_known


def known_films():
    """100 films without a finding at 0.00, 0.01 … 0.99, and four with it; of 13 classes nothing."""
    labels, probs = np.full((105, 14), np.nan), np.full((105, 14), 0.5)
    labels[:104, 0] = [0] * 100 + [1] * 4  # of the last film nothing is known
    probs[:104, 0] = [*(np.arange(100) / 100), 0.7, 0.8, 0.9, 0.95]
    return labels, np.arange(105), probs


def test_a_probability_is_placed_among_films_without_the_finding():
    labels, patients, probs = known_films()
    thresholds = np.array([0.7] + [np.nan] * 13)
    values = json.loads(json.dumps(reference_values(labels, probs, patients, thresholds, "platt")))
    facts = values["by_class"]["Atelectasis"]
    assert (facts["films"], facts["positives"], facts["prevalence"]) == (104, 4, 4 / 104)
    # Of 100 films, each below is one per cent.
    for prob, above in ((0.0, 0), (0.005, 1), (0.015, 2), (0.695, 70), (0.985, 99), (1.0, 100)):
        assert meaning(values, "Atelectasis", prob).above == above
    found = meaning(values, "Atelectasis", np.float32(0.7))
    assert found.decision(np.float32(0.7)) == "negative"  # float32 of 0.7 is a little less
    assert found.decision(0.7) == "positive" and found.base_rate == 4 / 104
    assert found.calibrated == pytest.approx(float(calibrate(0.7, facts["calibration"])), abs=1e-6)
    # Of the other classes nothing is known, and nothing is said.
    nothing = meaning(values, "Hernia", 0.5)
    assert np.isnan(nothing[:3]).all() and nothing.above is None and nothing.decision(0.5) == ""


def test_no_finding_above_its_threshold():
    thresholds = dict.fromkeys(CLASS_NAMES, 0.5) | {"Hernia": np.nan}
    probs = np.full(14, 0.4)
    said = "no finding above its threshold (of the 13 that have one)"
    assert none_above(probs, meanings(probs, thresholds)) == said
    every = meanings(probs, dict.fromkeys(CLASS_NAMES, 0.5))
    assert none_above(probs, every) == "no finding above its threshold"
    probs[CLASS_NAMES.index("Hernia")] = 0.9  # it has no threshold
    assert none_above(probs, meanings(probs, thresholds))
    probs[0] = 0.5
    assert not none_above(probs, meanings(probs, thresholds))
    assert not none_above(probs, meanings(probs))  # without thresholds nothing is said
    unknown = dict.fromkeys(CLASS_NAMES, Meaning(np.nan))
    assert not none_above(probs, unknown)


@pytest.fixture
def validated(members):
    """A folder, and words for eval.py: 40 test films, and 60 validation films of others."""
    paths, labels, folder = members
    rng = np.random.default_rng(1)
    names = [f"{n:08d}_000.png" for n in range(100, 160)]
    lines = [f"{name} {' '.join(map(str, rng.integers(0, 2, 14)))}" for name in names]
    (folder / "labels" / "val_list.txt").write_text("\n".join(lines))
    (folder / "val").mkdir()
    path = folder / "val" / "predictions.csv"
    write_predictions(path, names, rng.random((60, 14)).astype(np.float32))
    made = {"predictions_sha256": sha256(path), "crop_size": 224, "weights": {"sha256": "ab"}}
    (folder / "val" / "metrics.json").write_text(json.dumps(made))
    words = ["--data-dir", folder, "--no-intervals", "--no-report", "--predictions", paths[0]]
    return folder, labels, [*words, "--reference-from", path, "--output-dir", folder / "out"]


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_what_eval_writes(validated, method, monkeypatch, capsys):
    folder, labels, words = validated
    (folder / "labels" / "SOURCE.txt").write_text("cartoons")
    run(monkeypatch, *words, "--calibration", method)
    values = read_reference(folder / "out" / "operating_points.json")
    assert values["source"] == "cartoons"
    assert (values["films"], values["patients"], values["method"]) == (60, 60, method)
    ours = {"weights": "ab", "crop_size": 224, "resize": 256}
    assert why_of_others(values, ours) is None
    assert why_of_others(values, ours | {"weights": "cd"}) == "they are of other weights"
    other = why_of_others(values, ours | {"crop_size": 112})
    assert other == "they are of --crop-size 224, not --crop-size 112"
    rows = (folder / "labels" / "val_list.txt").read_text().splitlines()
    validation = np.array([row.split()[1:] for row in rows], float)
    names = [row.split()[0] for row in rows]
    chosen = choose_thresholds(validation, read_predictions(folder / "val/predictions.csv", names))
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    probs = read_predictions(folder / "out" / "predictions.csv", NAMES)
    raw = read_predictions(folder / "0" / "predictions.csv", NAMES)
    assert np.array_equal(probs, raw)  # to the bit
    figures = metrics["calibration"]
    assert figures["from"]["sha256"] == sha256(folder / "val" / "predictions.csv")
    for c, name in enumerate(CLASS_NAMES):
        fitted = values["by_class"][name]["calibration"]
        assert values["by_class"][name]["threshold"] == chosen[c]
        assert metrics["thresholds"]["threshold"][name] == chosen[c]
        for kind, scores in (("before", probs[:, c]), ("after", calibrate(probs[:, c], fitted))):
            expected = brier_score(labels[:, [c]], scores[:, None])[0]
            found = figures[kind]["brier"][name]
            assert found is None if np.isnan(expected) else found == pytest.approx(expected)
    # Noise: some class has no line that rises, and says nothing rather than something.
    assert method == "isotonic" or None in figures["fitted"].values()
    assert f"raw -> calibrated on validation films ({method})" in capsys.readouterr().err
    # Another evaluation into the same folder: nothing of this one is left.
    (folder / "out" / "doubted_films.csv").touch()
    run(monkeypatch, *(word for word in words if word != "--reference-from" and word != words[-3]))
    assert not (folder / "out" / "operating_points.json").exists()
    assert not (folder / "out" / "doubted_films.csv").exists()


def test_validation_films_are_of_other_patients(validated, monkeypatch):
    folder, _, words = validated
    listed = (folder / "labels" / "test_list.txt").read_text()
    (folder / "labels" / "val_list.txt").write_text(listed)
    write_predictions(folder / "val" / "predictions.csv", NAMES, np.full((40, 14), 0.5))
    with pytest.raises(UserError, match=r"want patients that are not in .*, got 40 films"):
        run(monkeypatch, *words)
    assert not (folder / "out" / "predictions.csv").exists()


def test_files_that_are_none(validated, monkeypatch, tmp_path):
    folder, _, words = validated
    run(monkeypatch, *words)
    text = (folder / "out" / "operating_points.json").read_text()
    good = json.loads(text)
    wrong = tmp_path / "wrong.json"
    broken = [text[: len(text) // 2], "[]", "{}", json.dumps({"by_class": []})]
    for key, value in (
        ("threshold", "high"),
        ("quantiles_without", [0.5, 0.1]),
        ("quantiles_without", [[0.1]]),
        ("quantiles_with", "0.1"),
        ("calibration", {"slope": None, "intercept": 0}),
        ("calibration", {"probability": [0.1, 0.2], "calibrated": [0.1]}),
        ("calibration", {"probability": [0.1, 2.0], "calibrated": [0.1, 0.2]}),
    ):
        facts = good["by_class"]["Mass"] | {key: value}
        broken.append(json.dumps({"by_class": good["by_class"] | {"Mass": facts}}))
    for content in broken:
        wrong.write_text(content)
        with pytest.raises(UserError, match=r"not an operating_points\.json"):
            read_reference(wrong)


@pytest.mark.parametrize(
    "words, error",
    [
        (["--reference-from", "v.csv"], "give --output-dir"),
        (
            ["--reference-from", "v.csv", "--thresholds-from", "v.csv", "--output-dir", "o"],
            "leave --thresholds-from out",
        ),
    ],
)
def test_options_that_do_not_go_together(words, error, monkeypatch, capsys):
    with pytest.raises(SystemExit) as exit:
        run(monkeypatch, *words)
    assert exit.value.code == 2 and error in capsys.readouterr().err


def test_a_page_shows_no_figures_of_one_crop_and_tells_those_of_another_window(tmp_path, capsys):
    path = tmp_path / "metrics.json"
    figures = {"auroc_mean": 0.6661, "auroc_mean_over": 13, "images": 774, "patients": 678}
    sizes = {"crop_size": 224, "resize": 256}
    figures |= {"weights": {"sha256": "ab"}, **sizes, "window": None}
    ours = {"weights": "ab", "crops": 10, **sizes, "window": None}
    path.write_text(json.dumps(figures | {"crops": 1}))
    with pytest.raises(UserError, match="but they are of --crops 1, not --crops 10; make it anew"):
        read_known(None, None, path, ours)
    path.write_text(json.dumps(figures | {"crops": 10}))
    assert read_known(None, None, path, ours)["evaluation"]["mean"] == 0.6661
    assert capsys.readouterr().err == ""
    # A warning only: the page's films may be of another kind than those of the evaluation.
    assert read_known(None, None, path, ours | {"window": [8192.0, 16384.0]})["evaluation"]
    said = f"warning: {path}: they are of no --window, not --window 8192,16384; make it anew\n"
    assert capsys.readouterr().err == said
