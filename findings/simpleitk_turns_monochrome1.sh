#!/usr/bin/env bash
# Guess: all libraries hand out the stored values of a DICOM film, and whoever shows a MONOCHROME1 film (low
# values are bright) turns it round himself.
# Behaviour: of the same chest film SimpleITK gives 32,767 minus what pydicom gives: it
# has turned it round already, and says so nowhere in the array. Code that turns MONOCHROME1 round after
# reading, right with pydicom, makes the film inverted with SimpleITK.
# Versions: pydicom 3.0.2, SimpleITK 2.5.7, the film RG1_UNCR.dcm of pydicom-data 1.0.0 (CR, chest).
# Source: the packages, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 pydicom-data==1.0.0 SimpleITK==2.5.7 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import importlib.util
import pathlib
import sys

import numpy as np
import pydicom
import SimpleITK

package = pathlib.Path(next(iter(importlib.util.find_spec("data_store").submodule_search_locations)))
path = str(package / "data" / "RG1_UNCR.dcm")
header = pydicom.dcmread(path)
stored = header.pixel_array.astype(int)
given = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).squeeze().astype(int)
for name, values in (("pydicom", stored), ("SimpleITK", given)):
    print(name, importlib.metadata.version(name), "values", values.min(), "to", values.max())
turned = np.array_equal(given, 2**header.BitsStored - 1 - stored)
print(header.PhotometricInterpretation, header.BitsStored, "bits; turned round by SimpleITK:", turned)
sys.exit(not turned)
PYTHON
