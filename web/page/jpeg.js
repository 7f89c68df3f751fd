// JPEG streams of 8 bits, by libjpeg: those of JPEG files, and those in DICOM files.

import decode, { init } from "./packages/jsquash-jpeg/decode.js";
import { jpegSegments } from "./segments.js";

let codec;

/** Take the compiled WebAssembly.Module that decodes them. */
export function setJpegModule(module) {
  codec = module;
  return init(module);
}

/** Return {width, height, data: red, green, blue and alpha of each pixel}. */
export async function decodeJpeg(bytes) {
  try {
    return await decode(bytes);
  } catch (error) {
    await init(codec); // what failed keeps its memory: begin anew
    throw error;
  }
}

/**
 * Return what the header of a JPEG or JPEG-LS frame says: {width, height, precision, ids of its
 * components, isYbr: whether JFIF's or Adobe's marker says so}.
 *
 * Throws a RangeError where the stream ends before its end is marked, as libjpeg would make up the
 * rest.
 */
export function jpegFrame(bytes) {
  let frame = null;
  let isYbr = false;
  for (const { marker, start, end } of jpegSegments(bytes)) {
    const name = String.fromCharCode(...bytes.subarray(start, start + 5));
    if (marker === 0xe0 && name.startsWith("JFIF")) isYbr = true;
    if (marker === 0xee && name === "Adobe" && bytes[start + 11] === 1) isYbr = true;
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame || marker === 0xf7) {
      const [precision, high, low, wide, narrow, count] = bytes.subarray(start, start + 6);
      const ids = Array.from({ length: count }, (_, n) => bytes[start + 6 + 3 * n]);
      frame = { width: 256 * wide + narrow, height: 256 * high + low, precision, ids };
    }
    if (marker === 0xda && (!frame || endOf(bytes) < end)) throw new RangeError("no end");
  }
  return { ...frame, isYbr };
}

/** Return the place of the last end marker; -1 for none. */
export function endOf(bytes) {
  let end = bytes.lastIndexOf(0xd9);
  while (end > 0 && bytes[end - 1] !== 0xff) end = bytes.lastIndexOf(0xd9, end - 1);
  return end - 1;
}
