#!/usr/bin/env bash
# Guess: pydicom's pixel_array of a JPEG with three equal channels (a grey film that was stored in colours) has three equal channels.
# Behaviour: with Pillow as the decoder it has not, where the stream has Adobe's marker with transform 1 (YCbCr) and the file says YBR_FULL_422:
# Pillow has made RGB of it already, and pydicom takes that for YBR. Without the marker the channels are equal.
# Versions: pydicom 3.0.2, Pillow 13.0.0. Run here, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m pip install --quiet --target "$folder" pydicom==3.0.2 pillow==13.0.0 numpy==2.2.6
PYTHONPATH=$folder python3 - <<'PYTHON'
import io
import sys

import numpy as np
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGBaseline8Bit

grey = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
target = io.BytesIO()
Image.fromarray(np.repeat(grey[..., None], 3, axis=2)).save(target, "JPEG", quality=95)
jfif = target.getvalue()
rest = jfif[4 + int.from_bytes(jfif[4:6], "big") :]  # behind JFIF's marker
adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x01"
apart = []
for stream in (jfif[:2] + adobe + rest, jfif[:2] + rest):
    pixels, _ = get_decoder(JPEGBaseline8Bit).as_array(
        encapsulate([stream]),
        decoding_plugin="pillow",
        rows=64,
        columns=64,
        number_of_frames=1,
        samples_per_pixel=3,
        photometric_interpretation="YBR_FULL_422",
        planar_configuration=0,
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        pixel_keyword="PixelData",
    )
    apart.append(int(np.ptp(pixels.astype(int), axis=2).max()))
print("pydicom 3.0.2, Pillow 13.0.0: how far the channels are apart, with Adobe's marker and without:", apart)
sys.exit(not (apart[0] > 100 and apart[1] == 0))
PYTHON
