#!/usr/bin/env bash
# Guess: a decoder that says that a JPEG 2000 picture has 8 bits and a sign gives bytes with a sign.
# Behaviour: @cornerstonejs/codec-openjpeg says {bitsPerSample: 8, isSigned: true} and makes all negative values 0; of 12 bits it
# gives negative ones. pylibjpeg-openjpeg, on the same library, gives both. What helps: clear the sign's bit in the stream's header (SIZ, Ssiz), and subtract 128.
# Versions: @cornerstonejs/codec-openjpeg 1.3.6, pylibjpeg-openjpeg 2.6.0. Run here, Node.js 20, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m pip install --quiet --target packages pylibjpeg-openjpeg==2.6.0 numpy==2.2.6
npm install --silent --no-save --ignore-scripts @cornerstonejs/codec-openjpeg@1.3.6
PYTHONPATH=packages python3 - <<'PYTHON'
import numpy as np
from openjpeg.utils import decode, encode_array

values = np.arange(4096).reshape(64, 64)
for bits, pixels in ((8, (values % 256 - 128).astype(np.int8)), (12, (values - 2048).astype(np.int16))):
    stream = encode_array(pixels, bits_stored=bits)
    assert (decode(bytes(stream)) == pixels).all()
    with open(f"{bits}.j2k", "wb") as file:
        file.write(stream)
PYTHON
cat > look.cjs <<'JAVASCRIPT'
const { readFileSync } = require("node:fs");
const start = require("@cornerstonejs/codec-openjpeg/decode");

start({ print() {} }).then(({ J2KDecoder }) => {
  const found = [8, 12].map((bits) => {
    const stream = readFileSync(`${bits}.j2k`);
    const decoder = new J2KDecoder();
    decoder.getEncodedBuffer(stream.length).set(stream);
    decoder.decode();
    const { buffer } = decoder.getDecodedBuffer().slice();
    const pixels = bits === 8 ? new Int8Array(buffer) : new Int16Array(buffer);
    return [decoder.getFrameInfo().isSigned, Math.min(...pixels), Math.max(...pixels)];
  });
  console.log("codec-openjpeg 1.3.6: is signed, least and largest value, of 8 and of 12 bits:", found);
  process.exit(JSON.stringify(found) === "[[true,0,127],[true,-2048,2047]]" ? 0 : 1);
});
JAVASCRIPT
node look.cjs
