// The stored values of a DICOM film, compressed or not, as films/dicom_pixels.py has them.

import {
  decodeJpeg2000,
  decodeJpegDct,
  decodeJpegLossless,
  decodeJpegLs,
  jpeg2000Frame,
} from "./codecs.js";
import { FilmError } from "./film_error.js";
import { jpegFrame } from "./jpeg.js";
import { decodeRle } from "./rle.js";

const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const UNCOMPRESSED = [
  "1.2.840.10008.1.2", // implicit, little endian
  "1.2.840.10008.1.2.1", // explicit, little endian
  "1.2.840.10008.1.2.1.99", // the same, deflated
  BIG_ENDIAN,
];
const RLE = "1.2.840.10008.1.2.5";
const JPEG_EXTENDED = "1.2.840.10008.1.2.4.51";
const DECODERS = {
  "1.2.840.10008.1.2.4.50": decodeJpegDct,
  [JPEG_EXTENDED]: decodeJpegDct,
  "1.2.840.10008.1.2.4.57": decodeJpegLossless,
  "1.2.840.10008.1.2.4.70": decodeJpegLossless,
  "1.2.840.10008.1.2.4.80": decodeJpegLs,
  "1.2.840.10008.1.2.4.81": decodeJpegLs,
  "1.2.840.10008.1.2.4.90": decodeJpeg2000,
  "1.2.840.10008.1.2.4.91": decodeJpeg2000,
  "1.2.840.10008.1.2.4.201": decodeJpeg2000, // High-Throughput JPEG 2000
  "1.2.840.10008.1.2.4.202": decodeJpeg2000,
  "1.2.840.10008.1.2.4.203": decodeJpeg2000,
};

/** Throw a FilmError unless pixels of a transfer syntax can be read. */
export function checkSyntax(syntax) {
  if (!UNCOMPRESSED.includes(syntax) && syntax !== RLE && !DECODERS[syntax]) {
    throw new FilmError("compressed");
  }
}

/**
 * Read the samples of a film; only their lowest Bits Stored bits are of the value (PS3.5, 8.1.1).
 *
 * @param file of dicom-parser, of one picture.
 * @param syntax its transfer syntax.
 * @returns {width, height, samples, data: Uint8Array or Uint16Array [height * width * samples]}
 */
export async function readPatterns(file, syntax) {
  const [height, width] = [file.uint16("x00280010"), file.uint16("x00280011")];
  const samples = file.uint16("x00280002");
  const size = { width, height, samples };
  if (!file.elements.x7fe00010?.length) throw new FilmError("noPixels");
  const read = UNCOMPRESSED.includes(syntax) ? readPlain : readCompressed;
  const { data, colours } = await read(file, syntax, size);
  if (samples === 3 && colours.startsWith("YBR_FULL")) toRgb(data, file.uint16("x00280101"));
  return { ...size, data };
}

function readPlain(file, syntax, { width, height, samples }) {
  const { dataOffset, length, vr } = file.elements.x7fe00010;
  const bytesEach = file.uint16("x00280100") / 8;
  const colours = file.string("x00280004");
  const isHalved = colours === "YBR_FULL_422"; // two pixels share their colours
  const pixels = width * height;
  const stored = isHalved ? 2 * pixels : pixels * samples;
  if (length < stored * bytesEach) throw new RangeError("truncated");
  if (isHalved && length >= 3 * pixels) throw new RangeError("not 4:2:2");
  const view = new DataView(file.byteArray.buffer, file.byteArray.byteOffset + dataOffset, length);
  const data = inOrder(view, stored, bytesEach, syntax === BIG_ENDIAN, vr === "OW");
  if (samples === 1) return { data, colours };
  const isInPlanes = file.uint16("x00280006") === 1 && !isHalved;
  const found = new data.constructor(pixels * samples);
  for (let n = 0; n < found.length; n++) {
    const [pixel, sample] = [Math.floor(n / 3), n % 3];
    if (isHalved) found[n] = data[4 * (pixel >> 1) + (sample ? 1 + sample : pixel & 1)];
    else found[n] = data[isInPlanes ? sample * pixels + pixel : n];
  }
  return { data: found, colours };
}

// The first of the stored values, in the order of this machine.
function inOrder(view, count, bytesEach, isBig, isInWords) {
  if (bytesEach === 2) {
    const data = new Uint16Array(count);
    for (let n = 0; n < count; n++) data[n] = view.getUint16(2 * n, !isBig);
    return data;
  }
  const data = new Uint8Array(view.buffer, view.byteOffset, count).slice();
  if (isBig && isInWords) {
    for (let n = 0; n < count; n++) data[n] = view.getUint8(n ^ 1);
  }
  return data;
}

async function readCompressed(file, syntax, { width, height, samples }) {
  const stream = joined(file, syntax);
  const [allocated, stored] = [file.uint16("x00280100"), file.uint16("x00280101")];
  const colours = file.string("x00280004");
  if (syntax === RLE) {
    return { data: decodeRle(stream, width * height, samples, allocated / 8), colours };
  }
  if (syntax === JPEG_EXTENDED && stored !== 8) throw new FilmError("compressed");
  const frame = jpeg2000Frame(stream) ?? jpegFrame(stream);
  // Before a decoder takes the memory that the stream asks for.
  if (frame.width !== width || frame.height !== height) throw new RangeError("another size");
  const { precision, data } = await DECODERS[syntax](stream);
  if (data.length !== width * height * samples) throw new RangeError("another size");
  const isSigned = file.uint16("x00280103") === 1;
  if (isSigned && precision < stored && !syntax.match(/\.(5|7).$/)) extendSign(data, precision);
  return { data, colours: coloursOf(frame, colours) };
}

// The fragments of a picture, without the pad byte at its end.
function joined(file, syntax) {
  const { fragments } = file.elements.x7fe00010;
  const found = new Uint8Array(fragments.reduce((sum, { length }) => sum + length, 0));
  let to = 0;
  for (const { position, length } of fragments) {
    found.set(file.byteArray.subarray(position, position + length), to);
    to += length;
  }
  const end = found.subarray(-3);
  const isPadded = syntax !== RLE && [0xff, 0xd9, 0].every((byte, n) => end[n] === byte);
  return isPadded ? found.subarray(0, -1) : found;
}

// What the components are, whatever the file says, as pydicom takes it.
function coloursOf({ ids = [], isYbr }, colours) {
  if (["RGB", "rgb"].includes(String.fromCharCode(...ids))) return "RGB";
  return isYbr && !colours.startsWith("YBR") ? "YBR_FULL" : colours;
}

// The streams of JPEG-LS have no signs, and those of JPEG 2000 others than the file at times.
function extendSign(data, precision) {
  const sign = 2 ** (precision - 1);
  for (let n = 0; n < data.length; n++) data[n] = ((data[n] & (2 * sign - 1)) ^ sign) - sign;
}

// PS3.3, C.7.6.3.1.2, in place.
function toRgb(data, bits) {
  if (bits > 8) throw new FilmError("colours");
  const rounded = (value) => Math.min(Math.max(Math.floor(value + 0.5), 0), 255);
  for (let n = 0; n < data.length; n += 3) {
    const [y, blue, red] = [data[n], data[n + 1] - 128, data[n + 2] - 128];
    data[n] = rounded(y + 1.402 * red);
    data[n + 1] = rounded(y - ((0.114 * 1.772) / 0.587) * blue - ((0.299 * 1.402) / 0.587) * red);
    data[n + 2] = rounded(y + 1.772 * blue);
  }
}
