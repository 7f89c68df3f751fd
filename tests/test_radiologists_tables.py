"""prepare_data.py labels: tables of films that radiologists read: VinDr's, RSNA's, Google's."""

import json

import numpy as np
import pytest
from helpers.tables import (
    ADJUDICATED,
    NIH,
    RSNA,
    RSNA_NAMES,
    VINDR_BOXES,
    VINDR_TEST,
    VINDR_TRAIN,
    findings,
)

from films.label_lists import CLASS_NAMES, read_label_list
from public_data.nih_tables import Box, read_boxes
from runtime.files import UserError


def test_vindr_s_radiologists_vote(convert):
    header, row = convert("vindr", VINDR_TRAIN)
    assert set(CLASS_NAMES).difference(header) == {"Mass", "Nodule", "Hernia"}
    assert "Patient ID" not in header
    assert row[0] == "train/00aa.dicom"
    assert findings(header, row) == ({"Cardiomegaly", "Fibrosis"}, set())


def test_vindr_s_test_table_and_a_tied_vote(convert):
    header, row = convert("vindr", VINDR_TEST)
    assert row[0] == "test/00bb.dicom"
    assert findings(header, row) == ({"Atelectasis", "Pneumonia"}, set())
    header, row = convert("vindr", VINDR_TRAIN.rpartition("00aa,R3")[0])
    assert findings(header, row) == ({"Cardiomegaly", "Fibrosis"}, {"Atelectasis"})


@pytest.mark.parametrize(
    ("readers", "present"),
    [
        (None, {"Cardiomegaly"}),  # two of three
        ("any", {"Cardiomegaly", "Atelectasis"}),  # two boxes of one radiologist are one vote
    ],
)
def test_vindr_s_boxes(convert, readers, present):
    header, row = convert("vindr", VINDR_BOXES, readers=readers)
    # Kaggle's table has none of the three: unknown.
    expected = {"Mass", "Nodule", "Hernia", "Edema", "Emphysema", "Pneumonia"}
    assert set(CLASS_NAMES).difference(header) == expected
    assert row[0] == "train/00cc.dicom"
    assert findings(header, row) == (present, set())


def test_rsna_s_films_without_their_nih_names(convert, capsys):
    assert convert("rsna", RSNA) == [
        ["Image Index", "Pneumonia"],
        ["stage_2_train_images/90aa-01.dcm", "0"],
        ["stage_2_train_images/90aa-02.dcm", "1"],
    ]
    # Each patientId is a film: whose it is, and so whether it was trained on, is unknown.
    assert "caution: these are films of ChestX-ray14; which of them" in capsys.readouterr().out


def test_rsna_s_films_by_their_nih_names_and_their_boxes(convert, tmp_path, capsys):
    boxes = tmp_path / "boxes.csv"
    header, first, second = convert("rsna", RSNA, json.dumps(RSNA_NAMES), boxes_output=boxes)
    assert header == ["Image Index", "Patient ID", "Pneumonia"]
    assert first == ["00090001_000.png", "00090001", "0"]
    assert second == ["00090002_003.png", "00090002", "1"]
    printed = capsys.readouterr().out
    assert "caution" not in printed
    assert printed.splitlines()[-1].endswith("boxes.csv: 2 boxes")
    assert read_boxes(boxes) == [  # as eval.py --boxes reads NIH's own
        Box("00090002_003.png", "Pneumonia", 264, 152, 477, 531),
        Box("00090002_003.png", "Pneumonia", 562, 152, 818, 605),
    ]


@pytest.mark.parametrize(
    ("text", "metadata", "message"),
    [
        (RSNA + "90aa-02,,,,,0\n", None, r"csv:5: 90aa-02 has Target 0 and 1 \(.*csv:3\)"),
        (RSNA + "90aa-03,,,,,2\n", None, "csv:5: want 0 or 1 in the column 'Target', got '2'"),
        (RSNA + "90aa-03,1,2,,4,1\n", None, "csv:5: want x, y, width and height .* got '1,2,,4'"),
        (RSNA + "90aa-03,1,2,0,4,1\n", None, "csv:5: want x, y, width and height"),
        (RSNA + "90aa-03,-inf,2,3,4,1\n", None, "csv:5: want x, y, width and height"),
        (RSNA + "90aa-03,1,2,inf,4,1\n", None, "csv:5: want x, y, width and height"),
        (RSNA, json.dumps(RSNA_NAMES[:1]), "csv:3: film '90aa-02' is not in .*metadata.csv"),
        (RSNA, json.dumps({"a": 1}), "metadata.csv: want RSNA's pneumonia-challenge-dataset-map"),
        (RSNA, RSNA, "metadata.csv: want RSNA's pneumonia-challenge-dataset-map"),
        (RSNA, json.dumps([RSNA_NAMES[0] | {"img_id": 5}]), "metadata.csv: want RSNA's pneumonia-"),
        (RSNA, json.dumps([RSNA_NAMES[0] | {"img_id": "a.png"}]), "metadata.csv: want RSNA's pne"),
    ],
)
def test_rsna_s_files_that_are_not_as_they_should_be(convert, text, metadata, message):
    with pytest.raises(UserError, match=message):
        convert("rsna", text, metadata)


def test_boxes_do_not_go_into_the_list(convert, tmp_path):
    with pytest.raises(UserError, match="want a new file for --boxes-output, got that of --output"):
        convert("rsna", RSNA, boxes_output=tmp_path / "." / "list.csv")
    with pytest.raises(UserError, match="--boxes-output: want it with rsna, got --from nih"):
        convert("nih", NIH, boxes_output=tmp_path / "boxes.csv")


def test_radiologists_labels_of_nih_s_films(convert):
    header, first, second = convert("nih-adjudicated", ADJUDICATED)
    extra = ["Pneumothorax", "Nodule or mass", "Airspace opacity", "Fracture"]
    assert header[2:] == ["Mass", "Nodule", *extra]
    assert first == ["00090013_008.png", "00090013", "0", "0", "0", "0", "1", "0"]
    # Nodule or mass: yes. Which of the two is not said.
    assert second == ["00090013_026.png", "00090013", "", "", "1", "1", "0", "0"]


def test_the_list_of_radiologists_labels_is_read(convert, tmp_path):
    convert("nih-adjudicated", ADJUDICATED)
    labels = read_label_list(tmp_path / "list.csv")[1]
    assert labels[:, CLASS_NAMES.index("Pneumothorax")].tolist() == [0, 1]
    assert np.isnan(labels[:, CLASS_NAMES.index("Hernia")]).all()
