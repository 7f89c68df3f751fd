#!/usr/bin/env bash
# Guess: torchxrayvision's NIH_Dataset has the 112,120 films of ChestX-ray14.
# Behaviour: by default it has 28,868 of them: of each patient the first posteroanterior film (views=["PA"],
# unique_patients=True). Findings that come late in a stay, or lying in bed, are nearly gone: Pneumothorax
# 0.8 % of films where all have 4.7 %, Edema 0.1 % where all have 2.1 %.
# Versions: torchxrayvision 1.5.7, pandas 3.1.1. Source: the package and the table in its wheel, run here; of
# torchvision, which only its transforms and networks use, empty names stand in. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps torchxrayvision==1.5.7
"$folder/venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu \
    torch==2.13.0 numpy==2.4.6 pandas==3.1.1 pillow==13.0.0 imageio==2.38.1 scikit-image==0.26.0 requests tqdm
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import importlib.metadata
import sys
from unittest import mock

sys.modules |= {f"torchvision{part}": mock.MagicMock() for part in ("", ".transforms", ".models")}
import torchxrayvision.datasets as datasets

by_default = datasets.NIH_Dataset(imgpath=".")
whole = datasets.NIH_Dataset(imgpath=".", views=["PA", "AP"], unique_patients=False)
print("torchxrayvision", importlib.metadata.version("torchxrayvision"))
for name, films in (("by default", by_default), ("all", whole)):
    share = dict(zip(films.pathologies, 100 * films.labels.mean(0)))
    shares = [f"{finding} {share[finding]:.1f} %" for finding in ("Pneumothorax", "Edema")]
    print(f"{name}: {len(films):,} films;", *shares)
sys.exit((len(by_default), len(whole)) != (28868, 112120))
PYTHON
