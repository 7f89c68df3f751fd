#!/usr/bin/env bash
# Guess: in PadChest's table a film without labels has an empty cell in Labels, and every item of a list is a label.
# Behaviour: 103 rows hold the text nan, which ast.literal_eval does not read; 2,264 lists have an empty item beside others
# (a sentence of the report that nobody labelled), and others are [''] only.
# Versions: the table of 160,861 rows in torchxrayvision 1.5.7. Run here, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --no-deps --target "$folder" torchxrayvision==1.5.7
python3 - "$folder" <<'PYTHON'
import ast
import csv
import gzip
import sys

name = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
with gzip.open(f"{sys.argv[1]}/torchxrayvision/data/{name}", "rt", newline="") as file:
    cells = [row["Labels"] for row in csv.DictReader(file)]
texts = [cell for cell in cells if not cell.startswith("[")]
lists = [[item.strip() for item in ast.literal_eval(cell)] for cell in cells if cell.startswith("[")]
partly = sum("" in items and any(items) for items in lists)
found = len(cells), sorted(set(texts)), len(texts), partly, sum(items == [""] for items in lists)
print("rows, texts, how many, lists with an empty item beside others, [''] only:", found)
sys.exit(found[:3] != (160_861, ["nan"], 103))
PYTHON
