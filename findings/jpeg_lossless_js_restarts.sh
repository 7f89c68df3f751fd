#!/usr/bin/env bash
# Guess: a decoder of lossless JPEG that reads restart markers and the point transform decodes with them, or says that it does not.
# Behaviour: jpeg-lossless-decoder-js gives wrong pixels, without an error. The row behind a restart is predicted from the row above it, though
# it must be predicted from the pixel to the left, as the first row is (ITU-T T.81, H.1.1): so with selection values 2 to 7, not with 1.
# The point transform is left out: values are not shifted back, and the first prediction is not 2^(P-Pt-1) (H.1.2.1). Each restart interval as a
# picture of its own, and a precision of P-Pt bits with the result shifted by hand, give the right pixels.
# Versions: jpeg-lossless-decoder-js 2.1.2. Run here, Node.js 20, 2026-11-28.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-save --ignore-scripts jpeg-lossless-decoder-js@2.1.2
cat > look.mjs <<'JAVASCRIPT'
import { Decoder } from "jpeg-lossless-decoder-js";

const segment = (marker, ...content) => [0xff, marker, 0, content.length + 2, ...content];
// 8 columns, selection value 2 (the pixel above). Codes: 0 is a difference of 0, 10 and four bits one of 8 to 15.
const decode = ({ rows = 4, bits = 8, restart = 0, shift = 0 }, ...data) =>
  Array.from(new Decoder().decode(new Uint8Array([
    ...[0xff, 0xd8],
    ...segment(0xc3, bits, 0, rows, 0, 8, 1, 1, 0x11, 0),
    ...segment(0xc4, 0, 1, 1, ...Array(14).fill(0), 0, 4),
    ...(restart ? segment(0xdd, 0, restart) : []),
    ...segment(0xda, 1, 1, 0, 2, 0, shift),
    ...data, 0, 0, 0, 0, 0, // in the place of the end marker
  ]).buffer));
const flat = [0, 0]; // 16 pixels as predicted
const raised = [0b10100000, 0, 0b00000111]; // the first by 8 more; 3 bits that fill the last byte
const marker = [0xff, 0xd0];

const restarted = decode({ restart: 16 }, ...flat, ...marker, ...raised);
const apart = [...decode({ rows: 2 }, ...flat), ...decode({ rows: 2 }, ...raised)];
const shifted = decode({ rows: 2, shift: 1 }, ...raised);
const byHand = decode({ rows: 2, bits: 7 }, ...raised).map((value) => value << 1);
const count = (pixels, ...values) => values.map((value) => pixels.filter((pixel) => pixel === value).length);
console.log("jpeg-lossless-decoder-js 2.1.2");
console.log("two rows of 128 and, after a restart, two of 136; pixels of each:", count(restarted, 128, 136));
console.log("both intervals as pictures of their own:", count(apart, 128, 136));
console.log("(64 + 8) << 1 = 144 with a point transform of 1; pixels of it:", count(shifted, 144));
console.log("7 bits, shifted by hand:", count(byHand, 144));
const found = [restarted, apart].map((pixels) => count(pixels, 128, 136)).concat([shifted, byHand].map((p) => count(p, 144)));
process.exit(JSON.stringify(found) === "[[30,2],[16,16],[0],[16]]" ? 0 : 1);
JAVASCRIPT
node look.mjs
