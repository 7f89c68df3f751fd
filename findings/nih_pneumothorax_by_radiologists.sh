#!/usr/bin/env bash
# Guess: NIH's labels, read from reports, were said to be right in over 90 of 100, so films that radiologists call
# positive are mostly positive in NIH's table too.
# Behaviour: of the 4,376 films in Google's table 238 have a pneumothorax by the radiologists and 238 by NIH's labels, but only
# 109 by both: a precision and a sensitivity of 0.46. NIH's "No Finding" has 61 of the 238.
# Versions: torchxrayvision 1.5.7, which carries the table (Majkowska et al. 2020). Run here, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" torchxrayvision==1.5.7
python3 - "$folder" <<'PYTHON'
import csv
import gzip
import sys

path = f"{sys.argv[1]}/torchxrayvision/data/google2019_nih-chest-xray-labels.csv.gz"
with gzip.open(path, "rt", newline="") as file:
    rows = list(csv.DictReader(file))
people = [row["Pneumothorax"] == "YES" for row in rows]
program = ["Pneumothorax" in row["Finding Labels"].split("|") for row in rows]
nothing = sum(a and row["Finding Labels"] == "No Finding" for a, row in zip(people, rows))
found = len(rows), sum(people), sum(program), sum(a and b for a, b in zip(people, program)), nothing
print("torchxrayvision 1.5.7: films, by radiologists, by NIH, by both, no finding by NIH:", found)
sys.exit(found != (4376, 238, 238, 109, 61))
PYTHON
