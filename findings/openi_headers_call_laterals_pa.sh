#!/usr/bin/env bash
# Guess: View Position and Patient Orientation in the header of a radiograph tell a lateral film from a frontal.
# Behaviour: what they call lateral is lateral, but not the other way round. Of Open-i's 7,469 radiographs 2,586
# have neither element, and 1,090 studies of two films call both PA. Of the 583 films that torchxrayvision tells
# lateral by their pictures, headers call 129 lateral, 198 PA or AP, and say nothing of 256.
# Here: a header that says lateral is a reason to doubt a film; one that says PA is none to trust it.
# Versions: the tables in the wheel of torchxrayvision 1.5.7 (nlmcxr_dicom_metadata, the headers;
# nlmcxr_tsne_pa, views by picture), run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps torchxrayvision==1.5.7
"$folder/venv/bin/python" - <<'PYTHON'
import collections
import csv
import gzip
import importlib.util
import pathlib
import sys

data = pathlib.Path(importlib.util.find_spec("torchxrayvision").origin).parent / "data"


def rows(name):
    with gzip.open(data / name, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


csv.field_size_limit(1 << 30)
by_picture = {row["imageid"]: row["tsne-view"] for row in rows("nlmcxr_tsne_pa.csv.gz")}
studies, said = collections.defaultdict(list), collections.Counter()
nothing = 0
for row in rows("nlmcxr_dicom_metadata.csv.gz"):
    view, along_row = row["View Position"], row["Patient Orientation"][2:3]
    studies[row["Study Instance UID"]].append(view)
    is_lateral = view in ("LL", "RL") or "LAT" in view or along_row in ("A", "P")
    says = "lateral" if is_lateral else "frontal" if view or along_row else "nothing"
    nothing += says == "nothing"
    if row["imageid"] in by_picture:
        said[by_picture[row["imageid"]], says] += 1
both = sum(views == ["PA", "PA"] for views in studies.values())
print("torchxrayvision 1.5.7; films without a view:", nothing, "studies of two films called PA:", both)
for (picture, says), count in sorted(said.items()):
    print(f"by picture {picture}, by header {says}: {count}")
wanted = (2586, 1090, 129, 198, 256, 0)
found = nothing, both, *(said["L", says] for says in ("lateral", "frontal", "nothing"))
sys.exit((*found, said["PA", "lateral"]) != wanted)
PYTHON
