#!/usr/bin/env bash
# Guess: MONAI's LoadImage gives a film of 40 rows and 60 columns as an array of 40 rows and 60 columns, as
# Pillow, OpenCV, imageio and torchvision do.
# Behaviour: it gives 60 x 40, rows and columns swapped, of PNG and of DICOM: a film on its side and mirrored.
# A network that was trained on such films (MONAI's DenseNet121, say) takes no upright ones. Here
# convert_torch_weights.py --transposed turns its kernels.
# Versions: MONAI 1.6.1, torch 2.13.0 (CPU), Pillow 13.0.0, pydicom 3.0.2. Source: the packages, run here;
# MONAI documents it as reverse_indexing of PILReader and swap_ij of PydicomReader. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --extra-index-url https://download.pytorch.org/whl/cpu \
    torch==2.13.0 monai==1.6.1 numpy==2.4.6 pillow==13.0.0 pydicom==3.0.2
cd "$folder"
venv/bin/python - <<'PYTHON' 2>/dev/null
import sys

import monai
import numpy as np
import pydicom
from monai.transforms import LoadImage
from PIL import Image
from pydicom.data import get_testdata_file

film = np.random.default_rng(0).integers(0, 256, (40, 60), dtype=np.uint8)
Image.fromarray(film).save("film.png")
of_png = np.asarray(LoadImage(image_only=True)("film.png"))
path = get_testdata_file("MR_small.dcm", download=False)
slice_ = pydicom.dcmread(path).pixel_array
of_dicom = np.asarray(LoadImage(image_only=True, reader="PydicomReader")(path)).squeeze()
print("MONAI", monai.__version__, "a PNG of", film.shape, "becomes", of_png.shape)
swapped = np.array_equal(of_png, film.T), np.array_equal(of_dicom, slice_.T)
print("rows and columns swapped, PNG and DICOM:", *swapped)
sys.exit(swapped != (True, True))
PYTHON
