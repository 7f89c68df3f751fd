#!/usr/bin/env bash
# Guess: RSNA's pneumonia challenge took films of all kinds, so that only the film tells which have a pneumonia; and
# its patientId is a patient, by which films can be split.
# Behaviour: 38.3 % of the films with an AP view are positive and 9.3 % of those with a PA view: the view by itself
# reaches an AUROC of 0.706. Each of the 26,684 films has a patientId of its own.
# Versions: the labels and DICOM headers in the wheel of torchxrayvision 1.5.7; scikit-learn 1.9.1, pandas 3.1.1.
# 2026-11-28.
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
boxes = pandas.read_csv(path / "kaggle_stage_2_train_labels.csv.zip")
headers = pandas.read_csv(path / "kaggle_stage_2_train_images_dicom_headers.csv.gz")
films = headers.set_index("PatientID").join(boxes.groupby("patientId")["Target"].max())
is_ap = films["ViewPosition"] == "AP"
found = f"{roc_auc_score(films['Target'], is_ap):.3f}"
print(f"{len(films):,} films, {films.index.nunique():,} of patientId; positive:")
shares = [f"{100 * films['Target'][where].mean():.1f}" for where in (is_ap, ~is_ap)]
print(f"{shares[0]} % of {is_ap.sum():,} AP films, {shares[1]} % of {(~is_ap).sum():,} PA films")
print("AUROC of the view by itself:", found)
print("torchxrayvision", importlib.metadata.version("torchxrayvision"))
sys.exit((found, shares, films.index.nunique()) != ("0.706", ["38.3", "9.3"], 26684))
PYTHON
