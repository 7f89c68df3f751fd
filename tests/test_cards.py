"""Cards and the flow of participants: counts by hand, and the files that figures are from."""

import json
import re

import numpy as np
import pytest
from helpers.folders import tables_of
from helpers.places import ROOT

from evaluation.figures import (
    measure,
    measure_calibration,
    measure_subgroups,
    measure_thresholds,
    participant_flow,
)
from evaluation.operating_points import reference_values
from evaluation.reports import write_model_card
from evaluation.written_figures import for_json
from films.label_lists import CLASS_NAMES, LabelList
from public_data.folder_check import check, show_check

NAN = float("nan")
FIGURES = ("auroc", "average_precision")
HEADER = "Image Index,Finding Labels,Patient Age,Patient Gender,View Position\n"


@pytest.fixture
def listed():
    """Five films of three patients: Mass known on four, Hernia on nobody, Edema on all."""
    labels = np.zeros((5, 14), np.float32)
    mass, edema, hernia = map(CLASS_NAMES.index, ("Mass", "Edema", "Hernia"))
    labels[:, mass] = 1, 0, 0, NAN, 1
    labels[:, edema] = 1
    labels[:, hernia] = NAN
    names = [f"{n}.png" for n in range(5)]
    return LabelList(names, labels, ["a", "a", "a", "b", "c"])


def of(films, patients):
    return {"films": films, "patients": patients}


def test_the_flow_of_a_small_list(listed):
    probs = np.full((5, 14), 0.5)
    flow = participant_flow(listed, probs, LabelList(["x", "y"], listed.labels[:2], ["d", "d"]))
    assert flow["listed"] == flow["evaluated"] == of(5, 3)
    assert flow["validation"] == of(2, 1)
    # Patient a has a film with a mass and two without: counted in both.
    assert flow["by_class"]["Mass"] == {
        "known": of(4, 2),
        "unknown": of(1, 1),
        "with": of(2, 2),
        "without": of(2, 1),
    }
    assert flow["by_class"]["Hernia"]["unknown"] == of(5, 3)
    left_out = dict.fromkeys(CLASS_NAMES, "no film with it")
    left_out |= {"Edema": "no film without it", "Hernia": "no film whose label is known"}
    del left_out["Mass"]
    assert flow["left_out"] == left_out
    assert "validation" not in participant_flow(listed, probs)


@pytest.fixture(scope="module")
def evaluation():
    """Labels, probabilities and metrics of 400 films of 100 patients, some labels unknown."""
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, NAN], (400, 14), p=[0.6, 0.3, 0.1]).astype(np.float32)
    labels[:, 13] = 0  # nobody has a hernia
    probs = rng.random((400, 14))
    listed = LabelList([f"{n}.png" for n in range(400)], labels, [str(n // 4) for n in range(400)])
    patients, thresholds = listed.patients, np.full(14, 0.5)
    groups = {"sex": {"F": list(range(40)), "<M>|": list(range(40, 400))}}
    values = reference_values(labels[::2], probs[::2], patients[::2], thresholds, "platt")
    metrics = measure(labels, probs, patients)
    metrics |= {
        "flow": participant_flow(listed, probs, LabelList(["v.png"], labels[:1], ["v"])),
        "thresholds": {
            "from": {"path": "val`s.csv", "sha256": "v"},
            "rule": "f1",
            **measure_thresholds(labels, probs, patients, thresholds),
        },
        **measure_subgroups(labels, probs, patients, groups, thresholds),
        "calibration": {
            "from": {"path": "val.csv", "sha256": "v"},
            **measure_calibration(labels, probs, values),
        },
        "test_list": {"path": "test_list.txt", "sha256": "7e57"},
        "data": {"source": "films of our own", "list": None},
        "predictions": {"path": "p.csv", "sha256": "f00d"},
        "versions": {"python": "3"},
    }
    return listed, probs, for_json(metrics)


def shown(value, interval=None, digits=3):
    if value is None:
        return "nan"
    bounds = "" if interval is None else f" ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"
    return f"{value:.{digits}f}{bounds}"


def test_the_card_of_a_run_has_the_figures_of_metrics_json(evaluation, tmp_path):
    _, _, metrics = evaluation
    metrics = json.loads(json.dumps(metrics))
    write_model_card(tmp_path, metrics)
    text = (tmp_path / "model_card.md").read_text()
    tables = tables_of(text.replace("\\|", "/"))
    figures = tables["", "prevalence", "AUROC", "average precision"]
    for name, row in zip(CLASS_NAMES, figures, strict=False):
        expected = [
            shown(metrics[key][name], metrics[f"{key}_95_percent"][name])
            for key in ("auroc", "average_precision")
        ]
        assert row == [
            name,
            shown(metrics["positives"][name] / metrics["labelled"][name]),
            *expected,
        ]
    mean = metrics["auroc_mean"], metrics["auroc_mean_95_percent"]
    assert figures[-1][:3] == ["**mean of 13**", "", shown(*mean)]
    flow = metrics["flow"]["by_class"]["Mass"]
    cells = [f"{flow[k]['films']} ({flow[k]['patients']})" for k in ("with", "without", "unknown")]
    assert ["Mass", *cells] in tables["films (patients)", "with it", "without", "label unknown"]
    steps = tables["step", ""]
    assert steps[0] == ["in the test list", "400 films of 100 patients"]
    assert steps[2:4] == [
        ["classes in the mean", "13 of 14"],
        ["without Hernia", "no film with it"],
    ]
    at = metrics["thresholds"]
    rates = [shown(at[r]["Mass"], at[f"{r}_95_percent"]["Mass"]) for r in ("sensitivity", "f1")]
    [mass] = [row for key, rows in tables.items() if "F1" in key for row in rows if "Mass" in row]
    assert [mass[2], mass[5]] == rates
    kinds = [metrics["calibration"][kind] for kind in ("before", "after")]
    keys = ("brier", "expected_calibration_error_equal_mass", "slope", "intercept")
    cells = [shown(kind[key]["Mass"]) for key in keys for kind in kinds]
    assert ["Mass", *cells] in [
        row for key, rows in tables.items() if "Slope, raw" in key for row in rows
    ]
    group = metrics["subgroups"]["sex"]["<M>|"]
    [row] = [row for rows in tables.values() for row in rows if row[0] == r"sex \<M\>/"]
    assert row[1:3] == ["360", shown(group["auroc_mean"], group["auroc_mean_95_percent"])]
    gap = metrics["subgroup_gaps"]["sex"]["specificity"]
    assert not any(gap.values())  # group F has fewer than 30 positives of every class
    assert "films of our own" in text and "``val`s.csv``" not in text and "`` val`s.csv ``" in text
    assert "saved predictions were evaluated" in text and "sha256 `f00d`" in text
    assert text.count("to be filled in by whoever trained it") >= 6
    assert not re.search("NIH|ChestX-ray14", text) and "Not for clinical use" in text


@pytest.mark.parametrize("known", [None, "NIH", "reference"])
def test_what_a_card_says_of_network_and_films_is_known(evaluation, tmp_path, known):
    listed, probs, _ = evaluation
    metrics = measure(listed.labels, probs, listed.patients, with_intervals=False)
    metrics = for_json(metrics) | {
        "flow": participant_flow(listed, probs),
        "data": {"source": None, "list": known},
        "test_list": {"path": "list.csv", "sha256": "0"},
        "weights": {"path": "w.pdparams", "sha256": "feed"},
        "versions": {},
        **{"crops": 10, "crop_size": 224, "resize": 256, "window": None},
        **{"precision": "bf16", "device": "cpu", "engine": "openvino"},
    }
    write_model_card(tmp_path, metrics)
    text = (tmp_path / "model_card.md").read_text()
    errors = tables_of(text)["", "Brier score", "calibration error"]
    assert errors[4][:2] == ["Mass", shown(metrics["brier"]["Mass"])]
    assert ("NIH Clinical Center" in text) == (known is not None)
    assert ("reference project" in text) == (known == "reference")
    assert ("Of the films no more is known" in text) == (known is None)
    assert (
        "sha256 `feed`; 10 crops of 224 pixels from films whose short side is 256, bf16\n" in text
    )
    assert "- Run on: cpu (openvino)\n" in text
    assert "Without intervals" in text and "No thresholds were chosen" in text
    assert "Not measured: sex, age and view" in text and "nan" in text
    members = [{"path": f"{n}.csv", "sha256": str(n)} for n in (1, 2)]
    members[0]["weights"] = metrics.pop("weights")
    write_model_card(tmp_path, metrics | {"predictions": {"mean_of": members}})
    text = (tmp_path / "model_card.md").read_text()
    assert "The mean of the predictions of 2 networks:\n" in text and "sha256 `feed`" in text
    assert "- not known; saved predictions were evaluated; predictions `2.csv`" in text


def test_who_is_on_the_films_of_a_list(tmp_path, capsys):
    table = tmp_path / "labels" / "Data_Entry_2017_v2020.csv"
    table.parent.mkdir()
    lines = ["00000001_000.png,Mass,17,F,PA", "00000001_001.png,Mass,18,F,AP"]
    lines += ["00000001_002.png,Edema,40,F,PA", "00000002_000.png,No Finding,300,M,PA"]
    table.write_text(HEADER + "\n".join(lines))
    own = tmp_path / "own.csv"
    # The list's labels count, not the table's; a film that the table has not is not known.
    rows = ["00000001_000.png,1,0", "00000001_001.png,0,0", "00000001_002.png,0,"]
    rows += ["00000002_000.png,0,1", "00000003_000.png,1,1"]
    classes = [name for name in CLASS_NAMES if name not in ("Mass", "Edema")]
    zeros = ",0" * len(classes)
    text = f"Image Index,Mass,Edema,{','.join(classes)}\n"
    own.write_text(text + "\n".join(row + zeros for row in rows))
    (tmp_path / "images").mkdir()
    report = check(tmp_path, {"test": own}, workers=0)
    found = report["demographics"]["test"]
    assert (found["films"], found["patients"]) == (5, 3)
    # Three films of patient 1, one each of the other two.
    assert found["films_per_patient"] == {
        "mean": 5 / 3,
        "median": 1.0,
        "most": 3,
        "patients_with_one": 2,
    }
    assert found["sex"] == {"F": of(3, 1), "M": of(1, 1), "not known": of(1, 1)}
    assert found["view"] == {"AP": of(1, 1), "PA": of(3, 2), "not known": of(1, 1)}
    bands = {"0-17": of(1, 1), "18-39": of(1, 1), "40-59": of(1, 1), "not known": of(2, 2)}
    assert found["age"] == bands  # 300 years cannot be
    assert found["age_quartiles"] == [17.5, 18, 29]  # of 17, 18 and 40
    assert found["no_finding"] == 1  # of 00000001_002.png Edema is not known
    assert found["findings"]["Mass"] == {"films": 2, "labelled": 5}
    assert found["findings"]["Edema"] == {"films": 2, "labelled": 4}
    show_check(report, as_json=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[3] == "films: 0 found, 5 listed, 0 do not decode, 0 look doubtful"
    assert [" ".join(line.split()) for line in lines if "Edema" in line or "sex F" in line] == [
        *("sex F, films 3 (60.0%)", "sex F, patients 1 (33.3%)", "Edema, films 2 (50.0%)")
    ]
    table.unlink()
    report = check(tmp_path, {"test": own}, workers=0)
    assert report["demographics"] == report["label_release"] == f"not known: no {table}"
    show_check(report, as_json=False)
    assert f"\ndemographics: not known: no {table}\n" in capsys.readouterr().out


def test_the_figures_of_the_model_card_are_those_of_its_files():
    folder = ROOT / "logs" / "2026-11-28_1444_films_224"
    ours, difference, config = (
        json.loads((folder / name).read_text())
        for name in ("test_metrics.json", "test_comparison.json", "config.json")
    )
    text = (ROOT / "MODEL_CARD.md").read_text()
    tables = tables_of(text)
    [figures] = [rows for heading, rows in tables.items() if "calibration error" in heading]
    expected = [
        [
            name,
            str(ours["positives"][name]),
            *(shown(ours[k][name], ours[f"{k}_95_percent"][name]) for k in FIGURES),
            shown(ours["expected_calibration_error_equal_mass"][name]),
        ]
        for name in CLASS_NAMES
    ]
    means = [shown(ours[f"{k}_mean"], ours[f"{k}_mean_95_percent"]) for k in FIGURES]
    assert figures == [*expected, ["**mean of 14**", "", *means, ""]]
    assert tables["group", "films", "patients", "mean AUROC", "over classes"] == [
        [
            f"{kind} {group}",
            str(found["images"]),
            str(found["patients"]),
            shown(found["auroc_mean"], found["auroc_mean_95_percent"]),
            str(found["auroc_mean_over"]),
        ]
        for kind in ("sex", "age", "view")
        for group, found in ours["subgroups"][kind].items()
    ]
    low, high = difference["mean_difference_95_percent"]
    assert f"{difference['mean_difference']:+.3f} ({low:+.3f} to {high:+.3f})" in text
    assert f"{ours['images']} films of {ours['patients']} patients" in text
    assert f"crops of {config['crop_size']} pixels" in text and ours["weights"]["sha256"] in text
    assert f"short side is {config['resize']}" in text
