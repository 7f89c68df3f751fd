#!/usr/bin/env bash
# Guess: a decoder of lossless JPEG either gives every pixel or fails.
# Behaviour: jpeg-lossless-decoder-js leaves the last pixel 0, without an error, where the end marker follows the last bit of the
# data without padding: here a picture of 8 x 8 pixels, all 128, whose differences take one bit each, so 8 whole bytes. Zeros in the place of the
# end marker help: then it does not look at the marker too early.
# Versions: jpeg-lossless-decoder-js 2.1.2. Run here, Node.js 20, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --ignore-scripts jpeg-lossless-decoder-js@2.1.2
cat > look.mjs <<'JAVASCRIPT'
import { Decoder } from "jpeg-lossless-decoder-js";

const segment = (marker, ...content) => [0xff, marker, 0, content.length + 2, ...content];
const stream = [
  ...[0xff, 0xd8], // start
  ...segment(0xc3, 8, 0, 8, 0, 8, 1, 1, 0x11, 0), // lossless: 8 bits, 8 x 8 pixels, one component
  ...segment(0xc4, 0, 1, ...Array(15).fill(0), 0), // one code of one bit, 0: a difference of 0
  ...segment(0xda, 1, 1, 0, 1, 0, 0), // scan: predicted by the pixel to the left
  ...Array(8).fill(0), // 64 codes
];
const decode = (...end) => Array.from(new Decoder().decode(new Uint8Array([...stream, ...end]).buffer));
const wrong = (pixels) => pixels.flatMap((value, n) => (value === 128 ? [] : [n]));
const found = [wrong(decode(0xff, 0xd9)), wrong(decode(0, 0, 0, 0, 0))];
console.log("jpeg-lossless-decoder-js 2.1.2: pixels that are not 128, with the end marker and with zeros:", found);
process.exit(JSON.stringify(found) === "[[63],[]]" ? 0 : 1);
JAVASCRIPT
node look.mjs
