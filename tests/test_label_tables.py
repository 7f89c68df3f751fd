"""prepare_data.py labels: each data set's table, headers as published, with invented people."""

import csv
import gzip
import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from helpers.tables import (
    ADJUDICATED,
    CHEXPERT,
    MIMIC,
    MIMIC_METADATA,
    NIH,
    OPENI,
    OPENI_METADATA,
    PADCHEST,
    VINDR_BOXES,
    VINDR_TEST,
    VINDR_TRAIN,
    findings,
)

from films.label_lists import CLASS_NAMES, read_label_list
from public_data.convert_labels import write_label_csv
from public_data.finding_names import FINDINGS, PADCHEST_BROKEN
from runtime.files import UserError


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
    os.link(table, tmp_path / "TABLE.csv")  # as a disk that takes both names for one has it
    with pytest.raises(UserError, match="want a new file for --output, got the table itself"):
        write_label_csv("nih", table, tmp_path / "TABLE.csv", None, None, False, False)
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
