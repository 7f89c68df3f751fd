#!/usr/bin/env bash
# Guess: what NIH's table says of a film but its labels (view, age, number of the follow-up) tells little of the
# findings, so that an AUROC of 0.7 means that a network has seen something; and "Follow-up #" is the number in the
# film's name.
# Behaviour: on all 112,120 films the number of the follow-up by itself reaches an AUROC of 0.70 for Pneumothorax, an
# AP view 0.75 for Edema, the age 0.77 for Hernia. The number in the name is another one for 24,106 films.
# Versions: the table of 2020 in the wheel of torchxrayvision 1.5.7; scikit-learn 1.9.1, pandas 3.1.1. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps torchxrayvision==1.5.7
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import sys

import pandas
from sklearn.metrics import roc_auc_score

path = importlib.metadata.distribution("torchxrayvision").locate_file("torchxrayvision/data")
films = pandas.read_csv(path / "Data_Entry_2017_v2020.csv.gz")
numbers = films["Image Index"].str.slice(9, 12).astype(int)
differ = int((numbers != films["Follow-up #"]).sum())
facts = {
    "Pneumothorax": ("follow-up", films["Follow-up #"]),
    "Edema": ("view AP", films["View Position"] == "AP"),
    "Hernia": ("age", films["Patient Age"]),
}
found = {}
for finding, (name, values) in facts.items():
    has_it = [finding in findings.split("|") for findings in films["Finding Labels"]]
    found[finding] = f"{roc_auc_score(has_it, values):.2f}"
    print(f"{finding}: {name} by itself reaches an AUROC of {found[finding]}")
print(f"{differ:,} of {len(films):,} films have another number in their name")
print("torchxrayvision", importlib.metadata.version("torchxrayvision"))
sys.exit((differ, found) != (24106, {"Pneumothorax": "0.70", "Edema": "0.75", "Hernia": "0.77"}))
PYTHON
