#!/usr/bin/env bash
# Guess: a byte behind the end of a JPEG 2000 stream does not matter to Pillow, as behind JPEG's. DICOM
# puts one there where a stream has an odd length.
# Behaviour: where the last tile leaves its length open (Psot = 0: "to the end of the stream", ISO/IEC
# 15444-1, A.4.2), Pillow raises "broken data stream"; with the length written it decodes the same bytes.
# Versions: Pillow 13.0.0. Source: the package, run here. 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/try.py" <<'PYTHON'
import io
import sys

import PIL
from PIL import Image

target = io.BytesIO()
Image.radial_gradient("L").save(target, "JPEG2000", no_jp2=True)
stream = bytearray(target.getvalue())
start = stream.index(b"\xff\x90\x00\x0a")  # the tile's marker and length; then its number and Psot


def reads(content):
    try:
        Image.open(io.BytesIO(bytes(content))).load()
    except OSError as error:
        print(" ", error)
        return False
    return True


results = []
for what in ("length written", "length open"):
    for pad in (b"", b"\0"):
        results.append(reads(stream + pad))
        print("Pillow", PIL.__version__, what, "and a pad byte" if pad else "", results[-1])
    stream[start + 6 : start + 10] = bytes(4)
sys.exit(results != [True, True, True, False])
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0
"$folder/venv/bin/python" "$folder/try.py"
