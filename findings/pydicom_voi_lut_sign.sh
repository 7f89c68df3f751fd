#!/usr/bin/env bash
# Guess: pydicom's apply_voi_lut reads the first value that a VOI LUT maps as DICOM says: signed where
# rescaling can give negative values (PS3.3, C.11.2.1.1).
# Behaviour: in an implicit VR file it takes the sign of Pixel Representation. With unsigned pixels, a
# rescale intercept of -1024 and a LUT from -500 on, the LUT begins at 65,036, and every pixel gets its
# first entry: a black film, without a word.
# Versions: pydicom 3.0.2, NumPy 2.4.6. Source: the packages, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" <<'PYTHON'
import io
import sys

import numpy as np
import pydicom
from pydicom.pixels import apply_modality_lut, apply_voi_lut

film, lut = pydicom.Dataset(), pydicom.Dataset()
film.file_meta = pydicom.dataset.FileMetaDataset()
film.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
film.SOPClassUID, film.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
film.Rows = film.Columns = 2
film.SamplesPerPixel, film.PhotometricInterpretation = 1, "MONOCHROME2"
film.BitsAllocated, film.BitsStored, film.HighBit, film.PixelRepresentation = 16, 12, 11, 0
film.PixelData = np.array([[0, 1024], [2048, 4095]], np.uint16).tobytes()
film.RescaleSlope, film.RescaleIntercept = "1", "-1024"
lut.add_new("LUTDescriptor", "SS", [2048, -500, 16])
lut.add_new("LUTData", "US", [32 * n for n in range(2048)])
film.VOILUTSequence = [lut]
target = io.BytesIO()
pydicom.dcmwrite(target, film, enforce_file_format=True)
read = pydicom.dcmread(io.BytesIO(target.getvalue()))
values = apply_modality_lut(read.pixel_array, read).astype(int)  # -1024, 0, 1024, 3071
found = apply_voi_lut(values, read).ravel().tolist()
print("pydicom", pydicom.__version__, found, "where the standard has [0, 16000, 48768, 65504]")
sys.exit(found != [0, 0, 0, 0])
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pydicom==3.0.2 numpy==2.4.6
"$folder/venv/bin/python" "$folder/try.py"
