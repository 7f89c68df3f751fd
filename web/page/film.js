// The files that films come in, and their pixels as 8 bits of grey: what `read_film` reads of PNG,
// JPEG and DICOM files, and what it refuses. Runs in the browser and in Node.

import { convertIndexedToRgb, decode as decodePng } from "./packages/fast-png/lib/index.js";
import { isDicom, readDicom } from "./dicom.js";
import { checkSides, equalChannels, FilmError, rint } from "./film_error.js";
import { endsOf, windowShare } from "./grey_values.js";
import { decodeJpeg, jpegFrame } from "./jpeg.js";
import { upright } from "./orientation.js";
import { pngChunks } from "./segments.js";

/** Tell what a film is by its first 132 bytes: "DICOM", "PNG" or "JPEG". Throws a FilmError. */
export function kindOf(bytes) {
  const starts = (...magic) => magic.every((byte, n) => bytes[n] === byte);
  if (isDicom(bytes)) return "DICOM";
  if (starts(0x89, 0x50, 0x4e, 0x47)) return "PNG";
  if (starts(0xff, 0xd8, 0xff)) return "JPEG";
  throw new FilmError(starts(0x49, 0x49, 0x2a, 0) || starts(0x4d, 0x4d, 0, 0x2a) ? "tiff" : "unknown");
}

/**
 * Read a film, a Uint8Array: {width, height, grey: Uint8Array, span}. Throws a FilmError.
 *
 * window: [centre, width] of the values of DICOM films and those of 16 bits that become 0 to 255;
 * null: a DICOM film's own, else the full range.
 * span: of more than 8 bits, the lowest and highest value, and those that there could be, where
 * nothing says which of them matter.
 */
export async function readFilm(bytes, window) {
  const kind = kindOf(bytes);
  return guarded(kind, async () => {
    if (kind === "DICOM") return readDicom(bytes, window);
    const read = kind === "PNG" ? readPng(bytes, window) : await readJpeg(bytes);
    return upright(read, bytes, kind);
  });
}

async function guarded(kind, read) {
  try {
    return await read();
  } catch (error) {
    // Decoders tell a broken file by any type.
    throw error instanceof FilmError ? error : new FilmError("broken", { kind });
  }
}

function readPng(bytes, window) {
  const header = new DataView(bytes.buffer, bytes.byteOffset, 24);
  checkSides(header.getUint32(16), header.getUint32(20));
  if (isAnimated(bytes)) throw new FilmError("frames");
  const png = decodePng(bytes, { checkCrc: true });
  const { width, height } = png;
  const pixels = width * height;
  if (window && png.depth === 16 && png.channels > 1) throw new FilmError("windowChannels");
  if (bytes[25] === 3) { // indexed; a palette may be suggested with colours too
    const data = convertIndexedToRgb(png);
    return { width, height, grey: equalChannels(data, data.length / pixels, pixels) };
  }
  if (png.channels >= 3) {
    // Pillow keeps the high byte of 16-bit colours.
    const data = png.depth === 16 ? Uint8Array.from(png.data, (value) => value >> 8) : png.data;
    return { width, height, grey: equalChannels(data, png.channels, pixels) };
  }
  const grey = new Uint8Array(pixels);
  let span = null; // lowest and highest value, and what they could be
  if (png.depth < 8) {
    unpack(png, grey);
  } else if (png.depth === 16 && png.channels === 1) {
    const share = (value) => (window ? windowShare(value, ...window, "LINEAR") : value / 65535);
    const table = Uint8Array.from({ length: 65536 }, (_, value) => rint(255 * share(value)));
    for (let n = 0; n < pixels; n++) grey[n] = table[png.data[n]];
    if (!window) span = [...endsOf(png.data), 0, 65535];
  } else {
    const shift = png.depth - 8;
    for (let n = 0; n < pixels; n++) grey[n] = png.data[n * png.channels] >> shift;
  }
  return { width, height, grey, span };
}

// Does an APNG's control chunk come before the picture, with several frames?
function isAnimated(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const { type, start } of pngChunks(bytes)) {
    if (type === "acTL") return view.getUint32(start) > 1;
    if (type === "IDAT") return false;
  }
  return false;
}

// Spread grey values of 1, 2 or 4 bits over 0 to 255.
function unpack({ width, height, depth, data }, grey) {
  const perByte = 8 / depth;
  const rowBytes = Math.ceil(width / perByte);
  const most = 2 ** depth - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const byte = data[y * rowBytes + Math.floor(x / perByte)];
      const value = (byte >> (8 - depth * ((x % perByte) + 1))) & most;
      grey[y * width + x] = (value * 255) / most;
    }
  }
}

async function readJpeg(bytes) {
  const { width, height } = jpegFrame(bytes);
  checkSides(width, height);
  const { data } = await decodeJpeg(bytes);
  return { width, height, grey: equalChannels(data, 4, width * height) };
}
