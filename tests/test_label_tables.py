"""prepare_data.py labels: each data set's table, headers as published, with invented people."""

import csv
import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from films.label_lists import CLASS_NAMES, read_label_list
from public_data.convert_labels import write_label_csv
from public_data.finding_names import FINDINGS, PADCHEST_BROKEN
from public_data.nih_tables import Box, read_boxes
from runtime.files import UserError

OBSERVATIONS = (
    "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,"
    "Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,"
    "Support Devices"
)
CHEXPERT = f"""\
Path,Sex,Age,Frontal/Lateral,AP/PA,{OBSERVATIONS}
CheXpert-v1.0/train/patient90001/study1/view1_frontal.jpg,Female,68,Frontal,AP,,,1.0,,,-1.0,,0.0,,,,,,1.0
CheXpert-v1.0/train/patient90001/study1/view2_lateral.jpg,Female,68,Lateral,,,,1.0,,,-1.0,,0.0,,,,,,1.0
CheXpert-v1.0/train/patient90002/study1/view1_frontal.jpg,Male,31,Frontal,PA,1.0,,,,,,,,,,,,,
"""
MIMIC = """\
subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,\
Fracture,Lung Lesion,Lung Opacity,No Finding,Pleural Effusion,Pleural Other,Pneumonia,\
Pneumothorax,Support Devices
19000001,59000001,,,-1.0,,,,,1.0,,1.0,,0.0,,
"""
MIMIC_METADATA = """\
dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,\
StudyDate,StudyTime,ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,\
PatientOrientationCodeSequence_CodeMeaning
aaaaaaaa-bbbbbbbb,19000001,59000001,CHEST (PA AND LAT),PA,3056,2544,21800506,213014.531,CHEST \
(PA AND LAT),postero-anterior,Erect
cccccccc-dddddddd,19000001,59000001,CHEST (PA AND LAT),LATERAL,3056,2544,21800506,213014.531,CHEST \
(PA AND LAT),lateral,Erect
eeeeeeee-ffffffff,19000002,59000009,CHEST (PORTABLE AP),AP,2828,2320,21800626,165500.312,CHEST \
(PORTABLE AP),antero-posterior,
"""
PADCHEST_HEADER = """\
,ImageID,ImageDir,StudyDate_DICOM,StudyID,PatientID,PatientBirth,PatientSex_DICOM,\
ViewPosition_DICOM,Projection,MethodProjection,Pediatric,Modality_DICOM,Manufacturer_DICOM,\
PhotometricInterpretation_DICOM,PixelRepresentation_DICOM,PixelAspectRatio_DICOM,\
SpatialResolution_DICOM,BitsStored_DICOM,WindowCenter_DICOM,WindowWidth_DICOM,Rows_DICOM,\
Columns_DICOM,XRayTubeCurrent_DICOM,Exposure_DICOM,ExposureInuAs_DICOM,ExposureTime,\
RelativeXRayExposure_DICOM,ReportID,Report,MethodLabel,Labels,Localizations,\
LabelsLocalizationsBySentence,labelCUIS,LocalizationsCUIS
"""
PADCHEST_FILMS = [
    ("1_a.png", "0", "P1", "PA", "['laminar atelectasis', ' pneumonia', 'subcutaneous emphysema']"),
    ("2_b.png", "54", "P2", "AP_horizontal", "['unchanged', 'hiatal hernia']"),
    ("3_c.png", "54", "P2", "L", "['normal']"),
    ("4_d.png", "7", "P3", "PA", "['exclude']"),
    ("5_e.png", "7", "P3", "AP", ""),
    ("6_f.png", "7", "P4", "AP", "['consolidation', 'mediastinal mass', 'hydropneumothorax']"),
]
PADCHEST = PADCHEST_HEADER + "".join(
    f"{n},{film},{folder},20150101,S{n},{person},1950.0,F,,{view},Manual review of DICOM fields,No,"
    "DX,PhilipsMedicalSystems,MONOCHROME2,0,None,0.148,12,2047.5,4095,2279,2778,None,1,1200,5,369,"
    f'{n}," sin hallazg .",Physician,"{labels}",[],"[[\'normal\']]",[],[]\n'
    for n, (film, folder, person, view, labels) in enumerate(PADCHEST_FILMS)
)
VINDR_LABELS = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion,COPD,Lung tumor,Pneumonia,Tuberculosis"
)
# Atelectasis, Cardiomegaly and Pulmonary fibrosis get 1, 2 and 3 of three votes.
VINDR_TRAIN = f"""\
image_id,rad_id,{VINDR_LABELS},Other diseases,No finding
00aa,R1,0,1,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0
00aa,R2,0,0,0,1,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,1,0,0,0,0,0,0,0,0
00aa,R3,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0,1,0,0,0,0,0,0,0,0
"""
VINDR_TEST = f"""\
image_id,{VINDR_LABELS},Other disease,No finding
00bb,0,1,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1,0,0,0
"""
OPENI = """\
uid,MeSH,Problems,image,indication,comparison,findings,impression
9001,normal,normal,"Xray Chest PA and Lateral",,None.,Clear.,Normal chest.
9002,"Cardiomegaly/borderline;Thickening/pleura/apex/bilateral;Hernia, Hiatal/large;Opacity/lung",\
"Cardiomegaly;Thickening;Hernia, Hiatal;Opacity",PA and lateral,,,,
9003,No Indexing,No Indexing,,,,,
9004,Cardiac Shadow/enlarged;Thickening/bronchovascular,Cardiac Shadow;Thickening,,,,,
"""
OPENI_METADATA = """\
uid,filename,projection
9001,9001_IM-0001-4001.dcm.png,Frontal
9001,9001_IM-0001-3001.dcm.png,Lateral
9002,9002_IM-0002-1001.dcm.png,Frontal
9003,9003_IM-0003-1001.dcm.png,Frontal
9004,9004_IM-0004-1001.dcm.png,Frontal
"""
NIH = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]
00090001_000.png,Cardiomegaly|Pleural_Thickening,0,90001,57,M,PA,2682,2749,0.143,0.143
00090001_001.png,No Finding,1,90001,58,M,AP,2894,2729,0.143,0.143
"""


@pytest.fixture
def convert(tmp_path):
    """Write a table, convert it, and return the header and the lines of the label list."""

    def run(data_set, text, metadata=None, unmentioned=None, all_views=False, flat=False, **rest):
        (tmp_path / "table.csv").write_text(text)
        second = None
        if metadata is not None:
            second = tmp_path / "metadata.csv"
            second.write_text(metadata)
        output = tmp_path / "list.csv"
        table = tmp_path / "table.csv"
        write_label_csv(data_set, table, output, second, unmentioned, all_views, flat, **rest)
        with open(output, newline="") as file:
            return list(csv.reader(file))

    return run


def findings(header, row):
    """The classes that a line calls present, and those that it leaves unknown."""
    cells = dict(zip(header, row, strict=True))
    present = {name for name in CLASS_NAMES if cells.get(name) == "1"}
    return present, {name for name in CLASS_NAMES if cells.get(name) == ""}


def test_every_class_of_a_mapping_is_one_of_the_14():
    assert {name for classes in FINDINGS.values() for name in classes} == {*CLASS_NAMES}


def test_chexpert(convert):
    header, first, second = convert("chexpert", CHEXPERT)
    known = ["Atelectasis", "Cardiomegaly", "Effusion", "Pneumonia", "Pneumothorax"]
    known += ["Consolidation", "Edema"]
    assert header == ["Image Index", "Patient ID", *known]
    name = "CheXpert-v1.0/train/patient90001/study1/view1_frontal.jpg"
    # Cardiomegaly 1.0, Edema -1.0 (uncertain), Pneumonia 0.0; the others are not mentioned.
    assert first == [name, "patient90001", "0", "1", "0", "0", "0", "0", ""]
    assert second[1:] == ["patient90002", *["0"] * 7]


def test_chexpert_s_findings_that_are_not_mentioned_can_be_unknown(convert):
    header, first, second = convert("chexpert", CHEXPERT, unmentioned="unknown")
    unknown = {"Atelectasis", "Effusion", "Pneumothorax", "Consolidation", "Edema"}
    assert findings(header, first) == ({"Cardiomegaly"}, unknown)
    assert findings(header, second) == (set(), set())  # "No Finding" speaks of them all


def test_other_views_are_kept_when_told(convert):
    names = [row[0] for row in convert("chexpert", CHEXPERT, all_views=True)[1:]]
    assert [name.rpartition("_")[2] for name in names] == [
        "frontal.jpg",
        "lateral.jpg",
        "frontal.jpg",
    ]


def test_mimic_s_films_get_the_labels_of_their_study(convert, capsys):
    header, *rows = convert("mimic", MIMIC, MIMIC_METADATA)
    assert [row[:2] for row in rows] == [
        ["files/p19/p19000001/s59000001/aaaaaaaa-bbbbbbbb.jpg", "19000001"]
    ]
    assert findings(header, rows[0]) == ({"Effusion"}, {"Consolidation"})
    printed = capsys.readouterr().out
    assert "left out: 1 films not frontal" in printed
    assert "left out: 1 films without labels" in printed  # study 59000009 is not in the table
    assert "Effusion                     1         0         0\n" in printed
    assert printed.splitlines()[-1].endswith("list.csv: 1 films of 1 patients")
    assert convert("mimic", MIMIC, MIMIC_METADATA, flat=True)[1][0] == "aaaaaaaa-bbbbbbbb.jpg"


def test_padchest(convert):
    header, *rows = convert("padchest", PADCHEST)
    assert header == ["Image Index", "Patient ID", *CLASS_NAMES]
    assert [row[:2] for row in rows] == [
        ["0/1_a.png", "P1"],
        ["54/2_b.png", "P2"],
        ["7/6_f.png", "P4"],
    ]
    # Air below the skin is no emphysema of the lung.
    assert findings(header, rows[0]) == ({"Atelectasis", "Pneumonia"}, set())
    # "unchanged": what is not named may be as before.
    assert findings(header, rows[1]) == ({"Hernia"}, {*CLASS_NAMES} - {"Hernia"})
    # In PadChest's tree a consolidation is an infiltrate; a mass of the mediastinum is not ours.
    expected = {"Infiltration", "Consolidation", "Effusion", "Pneumothorax"}
    assert findings(header, rows[2]) == (expected, set())


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


def test_openi(convert):
    header, normal, abnormal, shadow = convert("openi", OPENI, OPENI_METADATA)
    assert normal[:2] == ["9001_IM-0001-4001.dcm.png", "9001"]
    assert findings(header, normal) == (set(), set())
    # Borderline is uncertain; an opacity is none of the 14.
    assert findings(header, abnormal) == ({"Pleural_Thickening", "Hernia"}, {"Cardiomegaly"})
    assert findings(header, shadow) == ({"Cardiomegaly"}, set())


def test_nih(convert):
    header, first, second = convert("nih", NIH)
    assert header == ["Image Index", "Patient ID", *CLASS_NAMES]
    assert first[:2] == ["00090001_000.png", "00090001"]  # as in the label lists' names
    assert findings(header, first) == ({"Cardiomegaly", "Pleural_Thickening"}, set())
    assert second[2:] == ["0"] * 14


@pytest.mark.slow
def test_nih_s_own_table_is_the_label_lists_but_for_the_films_of_2020(shared, tmp_path):
    table = shared / "labels" / "Data_Entry_2017_v2020.csv.gz"
    write_label_csv("nih", table, tmp_path / "list.csv", None, None, False, False)
    with open(tmp_path / "list.csv", newline="") as file:
        rows = {row[0]: row[2:] for row in list(csv.reader(file))[1:]}
    differ = []
    for part in ("train", "val", "test"):
        names, labels = read_label_list(shared / "labels" / f"{part}_list.txt")
        ours = np.array([rows[name] for name in names]) == "1"
        differ.append((ours != labels).any(axis=1).sum())
    assert (len(rows), differ) == (112_120, [127, 18, 36])  # docs/data.md, "Which labels?"


@pytest.mark.parametrize(
    ("data_set", "text", "message"),
    [
        (
            "chexpert",
            PADCHEST,
            r"table.csv:1: no column 'Path'; it has the columns for --from padchest",
        ),
        ("mimic", MIMIC_METADATA, "columns for --metadata of mimic"),
        ("vindr", "a,b\n1,2\n", "table.csv:1: no column 'image_id'; download"),
        ("nih", "", "table.csv:1: no column 'Image Index'"),
        ("chexpert", CHEXPERT.replace("-1.0", "2"), "table.csv:2: want 1.0, .* 'Edema', got '2'"),
        ("chexpert", CHEXPERT.replace("/patient90002", ""), "table.csv:4: want a path with /pat"),
        ("chexpert", CHEXPERT + "a,b\n", "table.csv:5: want 19 cells, got 2"),
        ("chexpert", CHEXPERT.replace("CheXpert-v1.0", ".."), "table.csv:2: want the name of a"),
        ("chexpert", CHEXPERT.replace("CheXpert", "/CheXpert"), "table.csv:2: want the name of a"),
        ("padchest", PADCHEST.replace("['exclude']", "exclude"), "table.csv:5: want findings as"),
        ("vindr", VINDR_TEST.replace(",1,", ",,"), "table.csv:2: want 0 or 1 .*'Atelectasis'"),
        ("vindr", VINDR_TRAIN.replace("R2", "R1"), "table.csv:3: 00aa of R1 is there again"),
        ("nih", NIH.replace("Cardiomegaly", "Cold"), "table.csv:2: want findings .* got 'Cold'"),
        ("nih", NIH.replace("_001", "_000"), r"table.csv:3: want each film once.*table.csv:2\)"),
        ("nih", NIH.splitlines()[0], "table.csv: no labelled film"),
        (
            "nih",
            NIH + "a\0b",
            "table.csv:4: want 11 cells|table.csv: want a (table as|row of a) CSV",
        ),
    ],
)
def test_a_table_that_is_not_as_it_should_be(convert, tmp_path, data_set, text, message):
    metadata = MIMIC_METADATA if data_set == "mimic" else None
    with pytest.raises(UserError, match=message):
        convert(data_set, text, metadata)
    assert sorted(path.name for path in tmp_path.iterdir())[0] != "list.csv"


def test_a_second_table_that_is_not_as_it_should_be(convert):
    with pytest.raises(UserError, match=r"metadata.csv:1: .*columns for --from openi"):
        convert("openi", OPENI, OPENI)
    with pytest.raises(UserError, match=r"table.csv:6: report 9001 is there again"):
        convert("openi", OPENI + "9001,normal,,,,,,\n", OPENI_METADATA)


@pytest.mark.parametrize(
    ("data_set", "options", "message"),
    [
        ("mimic", {}, "want --metadata too"),
        ("nih", {"metadata": MIMIC_METADATA}, "--metadata: want it with mimic or openi or rsna"),
        ("nih", {"readers": "any"}, "--readers: want it with vindr"),
        ("nih", {"unmentioned": "unknown"}, "--unmentioned: want it with chexpert or mimic"),
    ],
)
def test_an_option_of_another_data_set(convert, data_set, options, message):
    with pytest.raises(UserError, match=message):
        convert(data_set, NIH, **options)


@pytest.mark.parametrize("content", [b"\xff\xfe", gzip.compress(NIH.encode())[:-30], b"no gzip"])
def test_a_file_that_is_no_table(tmp_path, content):
    table = tmp_path / ("table.csv" if content[0] == 0xFF else "table.csv.gz")
    table.write_bytes(content)
    with pytest.raises(UserError, match=r"table.csv(.gz)?: want a table as CSV"):
        write_label_csv("nih", table, tmp_path / "list.csv", None, None, False, False)


def test_the_output_is_not_the_table(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(NIH)
    with pytest.raises(UserError, match="want a new file for --output, got the table itself"):
        write_label_csv("nih", table, tmp_path / "." / "table.csv", None, None, False, False)
    assert table.read_text() == NIH


@pytest.mark.parametrize(
    ("labels", "present", "unknown"),
    [
        # A sentence of the report that nobody labelled may say anything.
        ("['', 'pneumonia']", {"Pneumonia"}, {*CLASS_NAMES} - {"Pneumonia"}),
        # "unchanged" beside "normal": the film is called normal.
        ("['normal', 'unchanged']", set(), set()),
        # Normal and a nodule contradict each other; nothing else is claimed.
        ("['normal', 'nodule']", set(), {"Nodule"}),
        # A look-alike of a nodule, and what a bad picture shows all the same.
        ("['pseudonodule', 'suboptimal study']", set(), set()),
    ],
)
def test_padchest_s_labels_are_read_for_what_they_say(convert, labels, present, unknown):
    text = PADCHEST.replace("['normal']", labels).replace(",L,", ",PA,")
    header, *rows = convert("padchest", text)
    assert rows[2][0] == "54/3_c.png"
    assert findings(header, rows[2]) == (present, unknown)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ("nan", "without labels"),  # 103 rows of the real table
        ("['']", "without labels"),
        ("['suboptimal study']", "without labels"),
        ("['unchanged']", "of which no finding is known"),
    ],
)
def test_padchest_s_rows_that_say_nothing_are_left_out_and_counted(convert, capsys, labels, reason):
    text = PADCHEST.replace("['exclude']", "['normal']").replace(
        "['unchanged', 'hiatal hernia']", labels
    )
    names = [row[0] for row in convert("padchest", text)[1:]]
    assert names == ["0/1_a.png", "7/4_d.png", "7/6_f.png"]
    assert reason in capsys.readouterr().out


def test_films_of_padchest_that_are_known_to_be_broken_are_left_out(convert):
    broken = sorted(PADCHEST_BROKEN)[0]
    names = [row[0] for row in convert("padchest", PADCHEST.replace("1_a.png", broken))[1:]]
    assert names == ["54/2_b.png", "7/6_f.png"]


def test_chexpert_s_test_table_has_the_view_in_the_name(convert):
    lines = [line.split(",") for line in CHEXPERT.splitlines()]
    text = "".join(",".join(cells[:1] + cells[5:]) + "\n" for cells in lines)
    assert [row[0].rpartition("/")[2] for row in convert("chexpert", text)[1:]] == [
        "view1_frontal.jpg",
        "view1_frontal.jpg",
    ]


VINDR_BOXES = """\
image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max
00cc,Cardiomegaly,3,R8,691.0,1375.0,1653.0,1831.0
00cc,Cardiomegaly,3,R9,690.0,1370.0,1650.0,1830.0
00cc,Atelectasis,1,R9,100.0,100.0,200.0,200.0
00cc,Atelectasis,1,R9,300.0,100.0,400.0,200.0
00cc,No finding,14,R10,,,,
"""


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


RSNA = """\
patientId,x,y,width,height,Target
90aa-01,,,,,0
90aa-02,264.0,152.0,213.0,379.0,1
90aa-02,562.0,152.0,256.0,453.0,1
"""
RSNA_NAMES = [
    {"subset_img_id": "90aa-01", "img_id": "00090001_000.png", "orig_labels": ["Mass"]},
    {"subset_img_id": "90aa-02", "img_id": "00090002_003.png", "orig_labels": ["Pneumonia"]},
]


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
        (RSNA, json.dumps(RSNA_NAMES[:1]), "csv:3: film '90aa-02' is not in .*metadata.csv"),
        (RSNA, json.dumps({"a": 1}), "metadata.csv: want RSNA's pneumonia-challenge-dataset-map"),
        (RSNA, RSNA, "metadata.csv: want RSNA's pneumonia-challenge-dataset-map"),
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


ADJUDICATED = """\
Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],Fracture,Pneumothorax,\
Airspace opacity,Nodule or mass,Set Id
00090013_008.png,Pneumothorax,8,90013,60,M,AP,3056,2544,0.139,0.139,NO,NO,YES,NO,test
00090013_026.png,No Finding,26,90013,57,M,AP,2500,2048,0.168,0.168,NO,YES,NO,YES,test
""".replace("OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]", "W,H,X,Y")


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


def test_openi_s_headings_that_were_misread(convert):
    headings = "Hemopneumothorax/right;Fibrosis/diffuse;Cardiac Shadow/borderline"
    text = OPENI.replace("9001,normal", f'9001,"{headings};Hernia, Diaphragmatic/small"')
    header, row, *_ = convert("openi", text, OPENI_METADATA)
    expected = {"Effusion", "Pneumothorax", "Fibrosis", "Hernia"}
    assert findings(header, row) == (expected, {"Cardiomegaly"})


def test_openi_s_own_archive(tmp_path, capsys):
    report = """<eCitation><uId id="CXR9001"/><MeSH><major>Nodule/lung</major>
    <automatic>Mass</automatic></MeSH><parentImage id="CXR9001_IM-0001-4001"/>
    <parentImage id="CXR9001_IM-0001-3001"/></eCitation>"""
    archive, views, output = tmp_path / "r.tgz", tmp_path / "views.csv", tmp_path / "list.csv"
    with tarfile.open(archive, "w:gz") as file:
        member = tarfile.TarInfo("ecgen-radiology/9001.xml")
        member.size = len(report)
        file.addfile(member, io.BytesIO(report.encode()))
    views.write_text(OPENI_METADATA)
    write_label_csv("openi", archive, output, views, None, False, False)
    with open(output, newline="") as file:
        header, *rows = csv.reader(file)
    assert [row[:2] for row in rows] == [["CXR9001_IM-0001-4001.png", "9001"]]
    assert findings(header, rows[0]) == ({"Nodule"}, set())  # what a program found is not read
    # The number is a report's: Open-i publishes no patient.
    assert capsys.readouterr().out.endswith("1 films of 1 reports\n")
    # Without the table of views all are kept only where that was asked for.
    with pytest.raises(UserError, match="want --metadata too"):
        write_label_csv("openi", archive, output, None, None, False, False)
    write_label_csv("openi", archive, output, None, None, True, False)
    assert capsys.readouterr().out.endswith("2 films of 1 reports\n")


def test_a_table_in_a_zip(tmp_path):
    table, output = tmp_path / "table.zip", tmp_path / "list.csv"
    with zipfile.ZipFile(table, "w") as archive:
        archive.writestr("Data_Entry_2017.csv", NIH)
    write_label_csv("nih", table, output, None, None, False, False)
    assert output.read_text().count("\n") == 3
    with zipfile.ZipFile(table, "a") as archive:
        archive.writestr("second.csv", NIH)
    with pytest.raises(UserError, match="want one CSV file in the archive, got 2"):
        write_label_csv("nih", table, output, None, None, False, False)


@pytest.mark.parametrize(
    ("data_set", "text", "message"),
    [
        ("nih", ADJUDICATED, "Google's table .* give --from nih-adjudicated"),
        ("nih-adjudicated", NIH, "no column 'Pneumothorax'; .*columns for --from nih$"),
        ("nih-adjudicated", ADJUDICATED.replace("YES,NO,test", "?,NO,test"), "want YES or NO"),
        ("chexpert", VINDR_BOXES, "columns for --from vindr"),
        ("chexpert", "path_to_image,age\na,1\n", "CheXpert Plus"),
        ("vindr", VINDR_BOXES.replace("Cardiomegaly", "Cold"), "table.csv:2: want one of VinDr's"),
        ("nih", NIH.replace(",", ";"), "table.csv:1: want cells .* by commas, got semicolons"),
        ("nih", NIH.replace(",", "\t"), "table.csv:1: want cells .* by commas, got tabs"),
    ],
)
def test_another_table_is_named_with_the_way(convert, data_set, text, message):
    with pytest.raises(UserError, match=message):
        convert(data_set, text)


@pytest.mark.slow
def test_the_command(script, tmp_path):
    table, output = tmp_path / "table.csv.gz", tmp_path / "new" / "list.csv"
    table.write_bytes(gzip.compress(NIH.encode()))
    result = script("prepare_data.py", "labels", table, "--from", "nih", "--output", output)
    assert result.returncode == 0, result.stderr
    assert f"wrote {output}: 2 films of 1 patients" in result.stdout
    assert output.read_text().count("\n") == 3
