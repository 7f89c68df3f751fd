import gzip

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evaluation.figures import measure_without_films
from evaluation.heat_maps import BoxedFilms
from evaluation.printed_tables import show_without_films
from films.label_lists import CLASS_NAMES, read_label_list
from public_data.nih_tables import (
    Box,
    Entry,
    facts_of,
    read_boxes,
    read_data_entry,
    read_names,
    subgroups,
)
from runtime.files import UserError

BOXES = "Image Index,Finding Label,Bbox [x,y,w,h],,,\n"
ENTRIES = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n"
)


def test_boxes_are_read(tmp_path):
    path = tmp_path / "boxes.csv"
    path.write_text(BOXES + "00000001_000.png,Infiltrate,10.5,20,30,40.25\n")
    expected = Box("00000001_000.png", "Infiltration", 10.5, 20.0, 40.5, 60.25)
    assert read_boxes(path) == [expected]


@pytest.mark.parametrize(
    "line",
    [
        "a.png,Cold,1,2,3,4",
        "a.png,Mass,1,2,3,x",
        "a.png,Mass,1,2,0,4",
        "a.png,Mass,1,2,3,nan",
        "a.png,Mass,nan,2,3,4",
        "a.png,Mass,1,2,inf,4",
    ],
)
def test_a_box_that_is_none_is_named(tmp_path, line):
    path = tmp_path / "boxes.csv"
    path.write_text(BOXES + "b.png,Mass,1,2,3,4\n" + line + "\n")
    with pytest.raises(UserError, match=rf"boxes.csv:3: want a film, a finding .* got '{line}'"):
        read_boxes(path)


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\xff\xfe", BOXES.encode() + b"a.png\n"])
def test_a_file_that_is_no_table(tmp_path, content):
    path = tmp_path / "boxes.csv"
    path.write_bytes(content)
    message = r"boxes.csv.*(no column|want a table|want 6 cells).* download (it|NIH's BBox_List)"
    with pytest.raises(UserError, match=message):
        read_boxes(path)


def test_boxes_are_of_films_that_a_list_names_with_folders(tmp_path):
    boxes, listed = tmp_path / "boxes.csv", tmp_path / "list.csv"
    boxes.write_text(BOXES + "a.png,Mass,1,2,3,4\n")
    listed.write_text("Image Index,Mass\nimages_001/b.png,0\nimages_001/a.png,1\n")
    assert BoxedFilms(boxes, read_label_list(listed)[0]).indices == [(1, CLASS_NAMES.index("Mass"))]


def test_entries_are_read(tmp_path):
    path = tmp_path / "entries.csv"
    rows = ["a.png,Mass|Hernia,0,1,58,M,PA", "b.png,No Finding,0,2,058Y,F,AP"]
    rows += ["c.png,Edema,0,3,010M,F,AP", "d.png,Edema,0,3,414,F,AP"]
    path.write_text(ENTRIES + "\n".join(rows))
    assert read_data_entry(path) == {
        "a.png": Entry(frozenset({"Mass", "Hernia"}), 58, "M", "PA", 0),
        "b.png": Entry(frozenset(), 58, "F", "AP", 0),
        "c.png": Entry(frozenset({"Edema"}), 0, "F", "AP", 0),  # ten months
        "d.png": Entry(frozenset({"Edema"}), None, "F", "AP", 0),  # the first release has 414
    }
    path.write_text(ENTRIES.replace("Follow-up #,", "") + "a.png,Mass,1,58,M,PA\n")
    assert read_data_entry(path) == {"a.png": Entry(frozenset({"Mass"}), 58, "M", "PA", None)}
    path.write_text(ENTRIES + "a.png,Cold,0,1,58,M,PA\n")
    with pytest.raises(UserError, match=r"entries.csv:2: want findings of the 14, got 'Cold'"):
        read_data_entry(path)


def test_films_are_grouped():
    entries = {
        "a.png": Entry(frozenset(), 17, "M", "PA"),
        "b.png": Entry(frozenset(), 18, "F", "PA"),
        "c.png": Entry(frozenset(), 95, "F", "AP"),
        "d.png": Entry(frozenset(), None, "M", "AP"),
    }
    assert subgroups(["c.png", "e.png", "a.png", "images_001/b.png", "d.png"], entries) == {
        "sex": {"F": [0, 3], "M": [2, 4], "not known": [1]},
        "age": {"0-17": [2], "18-39": [3], "80+": [0], "not known": [1, 4]},
        "view": {"AP": [0, 4], "PA": [2, 3], "not known": [1]},
        "sex and age": {"F 18-39": [3], "F 80+": [0], "M 0-17": [2], "not known": [1, 4]},
    }


def test_what_a_table_says_is_ranked_as_a_network_would_be():
    entries = {
        "a.png": Entry(frozenset(), 17, "M", "PA"),
        "b.png": Entry(frozenset(), 18, "F", "AP"),
        "c.png": Entry(frozenset(), None, "F", "AP"),
    }
    facts = facts_of(["images_001/c.png", "a.png", "b.png", "e.png"], entries)
    assert {name: values[:3].tolist() for name, values in facts.items() if name != "age"} == {
        "view AP": [1, 0, 1],
        "sex M": [0, 1, 0],
        "follow-up": pytest.approx([np.nan] * 3, nan_ok=True),
    }
    assert all(np.isnan(values[3]) for values in facts.values())  # not in the table
    labels = np.array([[1, 1], [0, 0], [1, 1], [0, 1]], np.float32)
    found = measure_without_films(labels, facts)
    assert {name: values.tolist() for name, values in found.items()} == {
        "view AP": [1, 1],  # c and b are AP and have both findings, a is PA and has none
        "sex M": [0, 0],
        "age": [1, 1],  # b is older than a; c's age is not known
    }


def test_no_table_is_printed_of_facts_that_are_known_of_no_film(capsys):
    facts = facts_of(["film.png"], {})  # the table is of other films
    figures = {"auroc": np.full(14, 0.8)}
    figures["auroc_without_films"] = measure_without_films(np.ones((1, 14)), facts)
    show_without_films(figures)
    assert capsys.readouterr() == ("", "")


def test_names_are_each_once_and_in_the_table(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("a.png\r\nb.png")
    entries = {"a.png": None, "b.png": None}
    assert read_names(path, entries, "table.csv") == ["a.png", "b.png"]
    for text, message in [
        ("a.png\nc.png", "list.txt:2: want films, each once, got 'c.png' that is not in table.csv"),
        ("a.png\na.png", "list.txt:2: want films, each once, got 'a.png' again"),
        ("", "list.txt: want films, got an empty list"),
    ]:
        path.write_text(text)
        with pytest.raises(UserError, match=message):
            read_names(path, entries, "table.csv")


def test_nih_s_own_boxes(shared):
    boxes = read_boxes(shared / "labels" / "BBox_List_2017.csv")
    tested = set(read_label_list(shared / "labels" / "test_list.txt")[0])
    on_test = [box for box in boxes if box.film in tested]
    # design.md, section 4
    assert (len(boxes), len({box.film for box in boxes})) == (984, 880)
    assert (len(on_test), len({box.film for box in on_test})) == (204, 188)


def test_nih_s_own_table(shared, tmp_path):
    path = tmp_path / "Data_Entry_2017_v2020.csv"
    packed = shared / "labels" / "Data_Entry_2017_v2020.csv.gz"
    path.write_bytes(gzip.decompress(packed.read_bytes()))
    entries = read_data_entry(path)
    assert len(entries) == 112_120
    names, labels = read_label_list(shared / "labels" / "test_list.txt")
    differ = [
        {CLASS_NAMES[c] for c in np.flatnonzero(row)} != entries[name].findings
        for name, row in zip(names, labels, strict=True)
    ]
    assert sum(differ) == 36  # design.md, section 4
    # docs/statistics.md: whoever has had many films is more likely to have a pneumothorax.
    found = measure_without_films(labels, facts_of(names, entries))
    numbers = [entries[name].follow_up for name in names]
    c = CLASS_NAMES.index("Pneumothorax")
    assert found["follow-up"][c] == pytest.approx(roc_auc_score(labels[:, c], numbers))
    assert f"{found['follow-up'][c]:.3f}" == "0.720"
    assert f"{found['view AP'][CLASS_NAMES.index('Edema')]:.3f}" == "0.728"
    groups = subgroups(names, entries)
    assert {kind: sum(map(len, of.values())) for kind, of in groups.items()} == dict.fromkeys(
        ("sex", "age", "view", "sex and age"), 22_433
    )
