// EXIF's orientation of PNG and JPEG films, and turning them upright, as `read_film` does.

import { jpegSegments, pngChunks } from "./segments.js";

const ORIENTATION = 0x0112;

/** Turn a picture {width, height, grey, ...} as the EXIF block in a PNG or JPEG file says. */
export function upright(picture, bytes, kind) {
  const orientation = orientationOf(kind === "PNG" ? pngBlock(bytes) : jpegBlock(bytes));
  return orientation > 1 ? turned(picture, orientation) : picture;
}

// A PNG's eXIf chunk, or null.
function pngBlock(bytes) {
  for (const { type, start, length } of pngChunks(bytes)) {
    if (type === "eXIf") return bytes.subarray(start, start + length);
  }
  return null;
}

// What follows "Exif\0\0" in a JPEG's APP1 segment, or null.
function jpegBlock(bytes) {
  for (const { marker, start, end } of jpegSegments(bytes)) {
    const name = String.fromCharCode(...bytes.subarray(start, start + 6));
    if (marker === 0xe1 && name === "Exif\0\0") return bytes.subarray(start + 6, end);
  }
  return null;
}

// The orientation in the first directory of a TIFF structure; a broken one says nothing.
function orientationOf(block) {
  if (!block) return 1;
  try {
    const start = String.fromCharCode(...block.subarray(0, 6)) === "Exif\0\0" ? 6 : 0;
    const view = new DataView(block.buffer, block.byteOffset + start, block.length - start);
    const little = view.getUint16(0) === 0x4949;
    if (!little && view.getUint16(0) !== 0x4d4d) return 1;
    const directory = view.getUint32(4, little);
    for (let n = 0; n < view.getUint16(directory, little); n++) {
      const entry = directory + 2 + 12 * n;
      if (view.getUint16(entry, little) === ORIENTATION) {
        const found = view.getUint16(entry + 8, little);
        return found <= 8 ? found : 1;
      }
    }
  } catch {
    // beyond its end
  }
  return 1;
}

// Orientations of 5 and more have rows for columns; the others are mirrored one way, both or none.
function turned({ width, height, grey, ...others }, orientation) {
  const isAcross = orientation >= 5;
  const fromRight = [2, 3, 7, 8].includes(orientation);
  const fromBottom = [3, 4, 6, 7].includes(orientation);
  const [newWidth, newHeight] = isAcross ? [height, width] : [width, height];
  const found = new Uint8Array(grey.length);
  for (let y = 0; y < newHeight; y++) {
    for (let x = 0; x < newWidth; x++) {
      const [column, row] = isAcross ? [y, x] : [x, y];
      const from = fromBottom ? height - 1 - row : row;
      found[y * newWidth + x] = grey[from * width + (fromRight ? width - 1 - column : column)];
    }
  }
  return { width: newWidth, height: newHeight, grey: found, ...others };
}
