#!/usr/bin/env bash
# Guess: the mean AUROC leaves out a class that no film of the test set has (Hernia in a small hospital's),
# or is undefined, as scikit-learn's and MONAI's are.
# Behaviour: torchmetrics gives such a class an AUROC and an average precision of 0 and takes it into the
# mean, with a warning: one perfect class of two makes a mean of 0.5.
# Versions: torchmetrics 1.9.0, torch 2.13.0 (CPU), scikit-learn 1.9.1. Source: the packages, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu \
    torch==2.13.0 torchmetrics==1.9.0 scikit-learn==1.9.1 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
import torchmetrics
from sklearn.metrics import roc_auc_score
from torchmetrics.classification import MultilabelAUROC, MultilabelAveragePrecision

labels = torch.tensor([[0, 0], [1, 0], [1, 0], [0, 0]])  # no film has the second
probs = torch.tensor([[0.1, 0.2], [0.8, 0.3], [0.7, 0.4], [0.2, 0.1]])
found = {
    kind.__name__: [kind(2, average="none")(probs, labels).tolist(), float(kind(2)(probs, labels))]
    for kind in (MultilabelAUROC, MultilabelAveragePrecision)
}
print("torchmetrics", torchmetrics.__version__, found)
print("scikit-learn", roc_auc_score(labels, probs, average=None), roc_auc_score(labels, probs))
sys.exit(any(value != [[1.0, 0.0], 0.5] for value in found.values()))
PYTHON
