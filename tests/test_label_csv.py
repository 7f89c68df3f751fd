"""Label lists as CSV: how they are read, and that unknown labels count nowhere."""

import json
import os
import re

import numpy as np
import paddle
import pytest
from helpers.folders import link_films

from dataset import ChestXray14
from evaluation.calibration import brier_score, equal_mass, expected_calibration_error
from evaluation.figures import measure, measure_difference, measure_subgroups, measure_thresholds
from evaluation.heat_maps import choose_examples
from evaluation.intervals import auroc_estimate, average_precision_estimate, delong, intervals
from evaluation.predictions_csv import write_predictions
from evaluation.printed_tables import show_difference, show_intervals
from evaluation.reports import write_report
from evaluation.thresholds import MISSED, choose_thresholds, rate_intervals, rates, rates_by_group
from evaluation.written_figures import for_json
from films.film_cache import write_cache
from films.label_lists import CLASS_NAMES, LabelList, films_shared, read_label_list, read_labels
from metrics import (
    AUROC,
    MeanLogLoss,
    auroc,
    average_precision,
)
from model import LogLoss
from public_data.folder_check import check, sorted_films
from runtime.files import UserError
from weights.weight_files import read_weights

NAN = np.nan


def write_csv(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_cells_columns_and_folders(tmp_path):
    text = (
        "\ufeffHernia,Image Index, Patient ID,Atelectasis\r\n"
        "1,a b/c-1.png,7,\r\n"
        '0.0,"x.dcm",007,-1\r\n\r\n'
        "-1.0,images/x.dcm,7,1.0\r\n"
    )
    names, labels, patients = read_labels(write_csv(tmp_path / "own.csv", text))
    assert names == ["a b/c-1.png", "x.dcm", "images/x.dcm"] and patients == [
        "7",
        "7",
        "7",
    ]  # one number
    assert labels.dtype == np.float32 and np.isnan(labels[:, 1:13]).all()
    np.testing.assert_array_equal(labels[:, [0, 13]], [[NAN, 1], [NAN, 0], [1, NAN]])
    again = read_label_list(tmp_path / "own.csv")
    assert again[0] == names and np.array_equal(again[1], labels, equal_nan=True)


def test_a_csv_of_known_labels_is_the_list_itself(phantoms, tmp_path, capsys):
    source = phantoms / "labels" / "test_list.txt"
    names, labels = read_label_list(source)
    rows = [f"{name},{','.join(map(str, row))}" for name, row in zip(names, labels, strict=True)]
    text = "\n".join([",".join(["Image Index", *CLASS_NAMES]), *rows])
    # The content decides, not the name.
    listed = read_labels(write_csv(tmp_path / "list.txt", text))
    assert listed.names == names and listed.labels.dtype == np.uint8
    assert np.array_equal(listed.labels, labels)
    assert listed.patients == read_labels(source).patients == [name[:8] for name in names]
    assert capsys.readouterr().err == ""


def test_films_with_other_names_are_patients_of_their_own_and_this_is_said_once(tmp_path, capsys):
    text = "Image Index,Mass\n00000007_001.png,1\na/00000007_002.png,0\nview1_frontal.png,0\n"
    path = write_csv(tmp_path / "own.csv", text)
    for _ in range(2):
        assert read_labels(path).patients == ["00000007", "00000007", "view1_frontal.png"]
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "1 of 3 names are not NIH's" in said


HEADER = "Image Index,Patient ID,Mass\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, ": want a row for each film, got only a header"),
        (HEADER + "a.png,1,2\n", ":2: want 0, 1, or nothing or -1"),
        (HEADER + "a.png,1,\nb.png,1\n", ":3: want 3 cells, got 2"),
        (HEADER + "a.png,1,0,0\n", ":2: want 3 cells, got 4"),
        (HEADER + "a.png,,0\n", ":2: want a patient in the column 'Patient ID'"),
        (HEADER + "a.png,1,0\n\na.png,2,1\n", ":4: want each film once, got a.png again"),
        (HEADER + '"a.png,1,0\n', ":2: want a row of a CSV file"),
        (HEADER + '"a\n.png",1,0\n', ":3: want the name of a film"),
        (HEADER + "/a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "b/../a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "./a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "b//a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "b\\a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "C:/a.png,1,0\n", ":2: want the name of a film"),
        (HEADER + "\x1b[2J.png,1,0\n", ":2: want the name of a film"),
        (HEADER + ",1,0\n", ":2: want the name of a film"),
        ("Image Index,mass\na.png,1\n", ":1: want 'Image Index', 'Patient ID' and names of"),
        ("Image Index,Mass,Mass\na.png,1,1\n", ":1: want each column once, got 'Mass' again"),
        ("Image Index,Patient ID\na.png,1\n", ":1: no column for a class"),
        ("Image Index;Mass\na.png;1\n", ":1: want cells separated by commas, got semicolons"),
        ("file,Mass\na.png,1\n", ":1: want a file name and 14 flags of 0 or 1, or a header"),
    ],
)
def test_a_bad_csv_is_an_error_with_its_row(tmp_path, text, message):
    path = write_csv(tmp_path / "own.csv", text)
    with pytest.raises(UserError) as caught:
        read_labels(path)
    assert str(caught.value).startswith(f"{path}{message}") and "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_films_of_one_name_in_two_folders_are_two_films(phantoms, tmp_path):
    """Also where a cache has the one, and the other is of the same size and time."""
    data = link_films(phantoms, tmp_path / "data")
    first, second, *_ = sorted((data / "images").iterdir())
    os.mkdir(data / "ward")
    os.symlink(os.path.realpath(second), data / "ward" / first.name)
    (data / "images" / "ward").mkdir()
    os.symlink(os.path.realpath(second), data / "images" / "ward" / "b.png")
    write_cache(data, sorted_films(data), 64, workers=0)
    name = first.name
    text = f"Image Index,Mass\n{name},1\nward/{name},\nward/b.png,1\n"
    path = write_csv(tmp_path / "own.csv", text)
    films = ChestXray14(data, path, resize=64)
    assert films.source.endswith(f"is not used: ward/{name} is not in it)")
    a, b, b_again = (films[n][0] for n in range(3))
    write_csv(tmp_path / "again.csv", f"Image Index,Mass\nimages/{name},0\n")
    a_again = ChestXray14(data, tmp_path / "again.csv", resize=64)[0][0]
    assert np.array_equal(a, a_again) and np.array_equal(b, b_again) and not np.array_equal(a, b)
    np.testing.assert_array_equal(films[1][1], np.full(14, NAN, np.float32))
    write_csv(path, f"Image Index,Mass\n{name},1\n")
    assert ChestXray14(data, path, resize=64).source == f"the cache {data / 'cache_64'}"


def test_a_patient_in_two_lists_is_found_however_they_tell_patients_apart(tmp_path):
    def listed(name, text):
        write_csv(tmp_path / name, text)
        return read_labels(tmp_path / name)

    nih, numbered = "00000012_000.png", "Image Index,Patient ID,Mass\n"
    with_column = listed("a.csv", f"{numbered}{nih},12,1\nx.png,anna,0\ny.png,berta,0")
    without = listed("b.csv", "Image Index,Mass\n00000012_001.png,1\nx.png,1\nz.png,0")
    assert films_shared(with_column, without) == [nih, "x.png"]
    assert films_shared(without, with_column) == ["00000012_001.png", "x.png"]
    # Two lists that name patients: films of one name may be of two hospitals.
    other = listed("c.csv", f"{numbered}x.png,carla,1\nw.png,berta,1")
    assert films_shared(with_column, other) == ["y.png"]


def test_a_release_of_nih_s_labels_is_known_by_the_labels_that_are(tmp_path):
    (tmp_path / "labels").mkdir()
    header = "Image Index,Finding Labels,Patient Age,Patient Gender,View Position\n"
    table = header + "00000001_000.png,Mass|Hernia,50,F,PA\n00000002_000.png,No Finding,9,M,AP\n"
    write_csv(tmp_path / "labels" / "Data_Entry_2017_v2020.csv", table)
    for cells, release in ((",1", "2020"), ("1,-1", "2020"), ("0,", "neither")):
        text = f"Image Index,Mass,Hernia\n00000001_000.png,{cells}\n00000002_000.png,,0\n"
        path = write_csv(tmp_path / "own.csv", text)
        found = check(tmp_path, {"test": path}, workers=0)
        assert found["label_release"].startswith(release) and found["split"] == "own"


def test_the_loss_is_pytorch_s_on_the_known_labels_and_so_are_its_gradients():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    probs = rng.random((16, 14)).astype(np.float32)
    probs[0, :4] = 0, 1, 0, 1
    labels = rng.choice([0, 1, NAN], (16, 14)).astype(np.float32)
    labels[0, :4] = 0, 0, NAN, NAN
    labels[:, 5], labels[3] = NAN, NAN
    known = ~np.isnan(labels)
    theirs = torch.from_numpy(probs).requires_grad_()
    expected = torch.nn.functional.binary_cross_entropy(
        theirs[torch.from_numpy(known)], torch.from_numpy(labels[known])
    )
    expected.backward()
    ours = paddle.to_tensor(probs, stop_gradient=False)
    loss = LogLoss()(ours, paddle.to_tensor(labels))
    loss.backward()
    assert float(loss) == pytest.approx(expected.item(), rel=1e-6)
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)
    assert (ours.grad.numpy()[~known] == 0).all()
    mean = MeanLogLoss()
    mean.update(probs[:9], labels[:9])
    mean.update(probs[9:], labels[9:])
    assert mean.value == pytest.approx(expected.item(), rel=1e-6)


def test_without_unknown_labels_the_loss_keeps_its_bits_and_with_no_others_it_is_0():
    rng = np.random.default_rng(0)
    labels = paddle.to_tensor(rng.integers(0, 2, (13, 14)).astype(np.float32))
    probs = paddle.to_tensor(rng.random((13, 14)).astype(np.float32), stop_gradient=False)
    found = []
    for loss in (LogLoss(), paddle.nn.functional.binary_cross_entropy):
        value = loss(probs, labels)
        value.backward()
        found.append((value.numpy().tobytes(), probs.grad.numpy().tobytes()))
        probs.clear_gradient()
    assert found[0] == found[1]
    nothing = LogLoss()(probs, paddle.full([13, 14], NAN))
    nothing.backward()
    assert float(nothing) == 0 and (probs.grad.numpy() == 0).all()
    mean = MeanLogLoss()
    mean.update(probs.numpy(), np.full((13, 14), NAN))
    assert np.isnan(mean.value)


@pytest.fixture(scope="module")
def some():
    """400 films of 150 patients, a quarter of the labels unknown; all of the last class."""
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 14)) < 0.3).astype(np.float32)
    labels = np.where(rng.random((400, 14)) < 0.25, NAN, truth)
    labels[:, 13] = NAN
    probs = np.clip(rng.random((400, 14)) * 0.8 + 0.2 * truth, 0, 1).astype(np.float32).round(3)
    return labels, probs, rng.integers(0, 150, 400)


def known_of(some, c):
    """Labels, probabilities and patients of the films that have a label for class c."""
    labels, probs, patients = some
    films = np.flatnonzero(~np.isnan(labels[:, c]))
    return labels[films, c], probs[films, c], patients[films]


def test_figures_are_those_of_the_films_that_have_the_label(some):
    labels, probs, _ = some
    thresholds = choose_thresholds(labels, probs)
    metric = AUROC(CLASS_NAMES)
    for batch in range(0, 400, 32):
        metric.update(probs[batch : batch + 32], labels[batch : batch + 32].astype(np.float32))
    running = metric.accumulate()
    for c in range(13):
        own_labels, own_probs, _ = known_of(some, c)
        column = own_labels[:, None], own_probs[:, None]
        assert auroc(labels, probs)[c] == running[c] == auroc(own_labels, own_probs)
        assert average_precision(labels, probs)[c] == average_precision(own_labels, own_probs)
        assert brier_score(labels, probs)[c] == pytest.approx(brier_score(*column)[0])
        assert (
            expected_calibration_error(labels, probs, equal_mass)[c]
            == (expected_calibration_error(*column, equal_mass)[0])
        )
        assert thresholds[c] == choose_thresholds(*column)[0]
        ours, theirs = rates(labels, probs, thresholds), rates(*column, thresholds[[c]])
        assert all(ours[rate][c] == theirs[rate][0] for rate in ours)
        b = probs[:, c] ** 2 + np.arange(400) % 7
        assert delong(labels[:, c], probs[:, c], b) == (
            delong(own_labels, own_probs, b[~np.isnan(labels[:, c])])
        )
    nothing = [auroc(labels, probs), average_precision(labels, probs), thresholds, running]
    nothing += [brier_score(labels, probs), expected_calibration_error(labels, probs)]
    assert all(np.isnan(values[13]) for values in nothing)
    assert running[14] == pytest.approx(np.mean(running[:13]))


def test_intervals_are_of_known_labels(some):
    labels, probs, patients = some
    thresholds = np.full(14, 0.5)
    found = rate_intervals(labels, probs, patients, thresholds)["specificity"]
    estimates = [
        auroc_estimate(labels, probs, patients),
        average_precision_estimate(labels, probs, patients)[0],
    ]
    for c in range(13):
        own_labels, own_probs, own_patients = known_of(some, c)
        column = own_labels[:, None], own_probs[:, None]
        for function, estimate in zip(
            (auroc_estimate, average_precision_estimate), estimates, strict=True
        ):
            alone = function(*column, own_patients)
            alone = alone[0] if function is average_precision_estimate else alone
            np.testing.assert_allclose(intervals(estimate)[c], intervals(alone)[0], rtol=1e-9)
        alone = rate_intervals(*column, own_patients, thresholds[:1])["specificity"]
        np.testing.assert_allclose(found[c], alone[0], rtol=1e-9)


def test_a_film_is_ill_with_one_known_finding_whatever_else_is_unknown():
    labels = np.zeros((90, 2))
    labels[:30] = [1, NAN]
    labels[30:60] = [NAN, 0]  # perhaps ill, perhaps not
    probs = np.zeros((90, 2))
    probs[:12] = [0, 1]  # called, if for another finding
    positives, found, _ = rates_by_group(labels, probs, range(90), [0.5, 0.5], [range(90)])
    assert positives.tolist() == [[30, 0, 30]]
    assert found[MISSED] == pytest.approx([18 / 30])


@pytest.mark.slow
def test_what_is_printed_and_drawn(some, tmp_path, capsys):
    labels, probs, patients = some
    figures = measure(labels, probs, patients)
    assert figures["auroc_mean_over"] == 13 and for_json(figures)["auroc"]["Hernia"] is None
    assert for_json(figures)["labelled"]["Mass"] == np.isfinite(labels[:, 4]).sum()
    assert for_json(figures)["positives"]["Mass"] == np.nansum(labels[:, 4])
    thresholds = choose_thresholds(labels, probs)
    figures["thresholds"] = {"from": {"path": "val.csv"}, "rule": "youden"}
    figures["thresholds"] |= measure_thresholds(labels, probs, patients, thresholds)
    groups = {"sex": {"F": list(range(200)), "M": list(range(200, 400))}}
    figures |= measure_subgroups(labels, probs, patients, groups, thresholds)
    show_intervals(figures)
    rows = capsys.readouterr().err.splitlines()
    mass = (
        f"{np.nanmean(labels[:, 4]):.4f}      of {np.isfinite(labels[:, 4]).sum()} labelled films"
    )
    assert rows[6].startswith("  Mass") and rows[6].endswith(mass)
    assert rows[16] == "  not known of any film: Hernia"
    difference = measure_difference(labels, probs, probs[::-1], patients)
    show_difference(difference, ["a.csv"], ["b.csv"])
    printed = capsys.readouterr().out
    assert "mean over 13 of 14" in printed and "undefined: no negatives" in printed
    chosen = choose_examples(labels, probs, [])
    assert len(chosen) == 26 and all(
        labels[film, c] == (kind == "with") for kind, film, c in chosen
    )
    listed = LabelList([f"ward/{n}.png" for n in range(400)], labels, list(map(str, patients)))
    write_report(tmp_path, figures, listed, probs, [])
    page = (tmp_path / "report.html").read_text()
    assert "<td>Mass</td>" in page and "Labelled films" in page and "counts nowhere" in page
    assert "Not known of any film: Hernia." in page and "<td>Hernia</td>" not in page
    assert page.count('alt="ROC curves: ') == 13


@pytest.mark.slow
def test_the_scripts_take_it_as_any_other_list(forked, fails, phantoms, tmp_path):
    """Films in folders: training, evaluation, thresholds, the saved predictions, and check."""
    data = tmp_path / "data"
    for part in ("val", "test"):
        names, labels = read_label_list(phantoms / "labels" / f"{part}_list.txt")
        rows = [f"Patient ID,Image Index,{','.join(CLASS_NAMES[:5])}"]
        for n, (name, flags) in enumerate(zip(names, labels, strict=True)):
            folder = data / part / f"{n // 2}"
            folder.mkdir(parents=True, exist_ok=True)
            os.symlink(phantoms / "images" / name, folder / f"{n % 2}.png")
            cells = ["" if (n + c) % 5 == 0 else str(flags[c]) for c in range(4)]
            # Both kinds of label in each list, whatever the phantoms have.
            rows.append(f"{part}{n // 2},{part}/{n // 2}/{n % 2}.png,{','.join(cells)},{n % 2}")
        write_csv(tmp_path / f"{part}.csv", "\n".join(rows))
    lists = ["--train-list", tmp_path / "test.csv", "--val-list", tmp_path / "val.csv"]
    folders = ["--data-dir", data, "--save-dir", tmp_path / "save", "--log-dir", tmp_path / "logs"]
    words = ["--pretrained", "none", "--resize", 72, "--crop-size", 64, "--batch-size", 6]
    result = forked("train.py", *folders, *lists, *words, "--epochs", 1)
    assert result.returncode == 0, result.stderr
    weights = tmp_path / "save" / "best_model.pdparams"
    bias = read_weights(str(weights))["densenet121.out.0.bias"]
    # It starts from 0, and nothing is learnt of a class without labels.
    assert (bias[:5] != 0).all() and (bias[5:] == 0).all()

    val = read_labels(tmp_path / "val.csv").names
    probs = np.random.default_rng(0).random((8, 14)).astype(np.float32)
    write_predictions(tmp_path / "val_predictions.csv", val, probs)
    known = ["--thresholds-from", tmp_path / "val_predictions.csv"]
    known += ["--thresholds-list", tmp_path / "val.csv"]
    test = ["--data-dir", data, "--test-list", tmp_path / "test.csv"]
    network = ["--weights", weights, "--crops", 1]
    output = ["--no-report", "--output-dir", tmp_path / "test"]
    result = forked("eval.py", *test, *network, *known, *output)
    assert result.returncode == 0, result.stderr
    assert re.search(r"The average AUROC is 0\.\d{3} \(over \d of 14 classes\)", result.stdout)
    assert "95 % intervals over 6 patients" in result.stderr and "note:" not in result.stderr
    found = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert found["labelled"]["Mass"] == 12 and found["labelled"]["Hernia"] == 0
    assert found["thresholds"]["threshold"]["Mass"] is not None
    saved = tmp_path / "test" / "predictions.csv"
    assert saved.read_text().splitlines()[2].startswith("test/0/1.png,")
    again = forked("eval.py", *test, "--predictions", saved)
    assert again.stdout.splitlines() == result.stdout.splitlines()[2:]  # but "=> loaded checkpoint"
    checked = forked("prepare_data.py", "check", *test, "--num-workers", 1)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "test: 12 films of 6 patients" in checked.stdout and "train:" not in checked.stdout
    assert "films: 12 found, 12 listed, 0 do not decode" in checked.stdout
    text = (tmp_path / "test.csv").read_text().replace("test/5/1.png", "test/5/../1.png")
    write_csv(tmp_path / "test.csv", text)
    message = fails("eval.py", *test, *network)
    assert f"{tmp_path / 'test.csv'}:13: want the name of a film" in message


def test_training_says_what_is_wrong_with_its_lists(forked, fails, phantoms, tmp_path):
    names, _ = read_label_list(phantoms / "labels" / "train_list.txt")
    rows = "".join(f"{name},{n % 2}\n" for n, name in enumerate(names[:4]))
    write_csv(tmp_path / "some.csv", f"Image Index,Mass\n{rows}")
    write_csv(tmp_path / "unknown.csv", f"Image Index,Mass\n{names[0]},\n{names[1]},-1\n")
    folders = ["--data-dir", phantoms, "--save-dir", tmp_path / "save", "--log-dir", tmp_path]
    words = [*folders, "--pretrained", "none", "--resize", 72, "--crop-size", 64, "--epochs", 1]
    words += ["--batch-size", 2, "--num-workers", 0, "--val-list", tmp_path / "unknown.csv"]
    error = fails("train.py", *words, "--train-list", tmp_path / "unknown.csv")
    assert "unknown.csv: no known label in it to learn from; fill them in" in error
    result = forked("train.py", *words, "--train-list", tmp_path / "some.csv")
    assert result.returncode == 0, result.stderr
    assert f"2 films are of patients in {tmp_path / 'some.csv'}, {names[0]} first" in result.stderr
    assert "weights: none; AUROC_avg was never defined on" in result.stdout
    assert "next:" not in result.stdout
    assert not (tmp_path / "save" / "best_model.pdparams").exists()


def test_a_patient_s_number_is_a_number_however_it_is_written(tmp_path, capfd):
    rows = "a.png,100,1\nb.png,100.0,0\nc.png,00000100,0\nd.png,P100,0\n"
    (tmp_path / "one.csv").write_text("Image Index,Patient ID,Mass\n" + rows)
    (tmp_path / "other.csv").write_text("Image Index,Patient ID,Mass\n00000100_002.png,0100,1\n")
    listed = read_labels(tmp_path / "one.csv")
    assert listed.patients == ["100", "100", "100", "P100"]
    assert "writes the numbers of 1 patients in several ways" in capfd.readouterr().err
    assert films_shared(listed, read_labels(tmp_path / "other.csv")) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("more", "data_set"), [("", "nih"), (",Nodule or mass", "nih-adjudicated")]
)
def test_a_table_of_nih_s_films_is_no_label_list(tmp_path, more, data_set):
    (tmp_path / "list.csv").write_text(f"Image Index,Finding Labels{more}\n")
    with pytest.raises(UserError, match=f"not a label list; .*labels --from {data_set}$"):
        read_labels(tmp_path / "list.csv")
