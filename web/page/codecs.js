// Decoders of compressed DICOM pixels, each loaded with the first film that needs it. Each gives
// {width, height, precision, data: samples of the pixels in a row, Uint8Array or Uint16Array}.

import { FilmError } from "./film_error.js";
import { decodeJpeg, endOf, jpegFrame } from "./jpeg.js";
import { jpegSegments } from "./segments.js";

const CHARLS = "./packages/cornerstonejs-codec-charls/dist/charlswasm_decode.js";
const OPENJPEG = "./packages/cornerstonejs-codec-openjpeg/dist/openjpegwasm_decode.js";
const LOSSLESS = "./packages/jpeg-lossless-decoder-js/release/lossless.js";

const AHEAD = 5; // bytes that the decoder of JPEG Lossless may look at beyond the last pixel

const loading = new Map(); // promises of {glue, module}, by name
let fetchCodec;

/** Take what fetches the .wasm file of a codec: a function of its name, "charls" or "openjpeg". */
export function setFetchCodec(fetch) {
  fetchCodec = fetch;
}

async function load(name, script, isWasm = true) {
  if (!loading.has(name)) {
    const parts = [import(script), isWasm && fetchCodec(name).then((b) => WebAssembly.compile(b))];
    loading.set(name, Promise.all(parts));
  }
  try {
    const [{ default: glue, Decoder }, module] = await loading.get(name);
    return { glue, module, Decoder };
  } catch (error) {
    loading.delete(name); // the next film tries again
    throw new FilmError("codec", { error: error.message });
  }
}

// A fresh instance each time: one that has failed is of no more use, and none gives memory back.
async function start(name, script) {
  const { glue, module } = await load(name, script);
  return new Promise((resolve, reject) => {
    const instantiateWasm = (imports, done) => {
      WebAssembly.instantiate(module, imports).then(done).catch(reject); // there may be no memory
      return {};
    };
    glue({ instantiateWasm, print() {}, printErr() {} }).then(resolve, reject);
  });
}

function decodeWith(decoder, stream) {
  decoder.getEncodedBuffer(stream.length).set(stream);
  decoder.decode();
  const { width, height, bitsPerSample: precision } = decoder.getFrameInfo();
  const bytes = decoder.getDecodedBuffer().slice();
  const data = precision > 8 ? new Uint16Array(bytes.buffer) : bytes;
  return { width, height, precision, data };
}

export async function decodeJpegLs(stream) {
  const { JpegLSDecoder } = await start("charls", CHARLS);
  const decoder = new JpegLSDecoder();
  const { data, ...found } = decodeWith(decoder, stream);
  const { componentCount: samples } = decoder.getFrameInfo();
  if (samples === 1 || decoder.getInterleaveMode()) return { ...found, data };
  const pixels = data.length / samples; // in planes
  const inPlanes = (n) => data[(n % samples) * pixels + Math.floor(n / samples)];
  return { ...found, data: data.map((_, n) => inPlanes(n)) };
}

/** JPEG 2000, by a decoder that makes negative values of 8 bits 0. */
export async function decodeJpeg2000(stream) {
  const { J2KDecoder } = await start("openjpeg", OPENJPEG);
  const { at } = jpeg2000Frame(stream);
  const isSigned = stream[at + 42] & 0x80;
  const unsigned = stream.slice(); // which says that the least value is 0
  unsigned[at + 42] &= 0x7f;
  const found = decodeWith(new J2KDecoder(), unsigned);
  const sign = isSigned ? 1 << (found.precision - 1) : 0;
  return { ...found, data: found.data.map((value) => value ^ sign) };
}

/**
 * Return {width, height, at: place} of the first header of a JPEG 2000 stream, which a JP2 header
 * may precede; null where there is none.
 */
export function jpeg2000Frame(stream) {
  for (let at = 0; at < 256; at++) {
    if (![0xff, 0x4f, 0xff, 0x51].every((byte, n) => stream[at + n] === byte)) continue;
    const view = new DataView(stream.buffer, stream.byteOffset + at + 8, 16);
    const [right, bottom, left, top] = [0, 4, 8, 12].map((place) => view.getUint32(place));
    return { width: right - left, height: bottom - top, at };
  }
  return null;
}

/**
 * JPEG Lossless, by a decoder that needs some help: it gets each restart interval as a picture of its
 * own, and a point transform as fewer bits, as both are defined (ITU-T T.81, annex H).
 */
export async function decodeJpegLossless(stream) {
  const { Decoder } = await load("lossless", LOSSLESS, false);
  const { width, height, precision, ids } = jpegFrame(stream);
  const { header, size, interval, shift } = losslessHeader(stream);
  const rowsEach = interval ? interval / width : height;
  if (!Number.isInteger(rowsEach)) throw new RangeError("a restart within a row");
  const parts = restartIntervals(stream.subarray(header.length, endOf(stream)));
  if (parts.length !== Math.ceil(height / rowsEach)) throw new RangeError("other restarts");
  const data = new (precision > 8 ? Uint16Array : Uint8Array)(width * height * ids.length);
  parts.forEach((part, n) => {
    const rows = Math.min(rowsEach, height - n * rowsEach);
    header.set([precision - shift, rows >> 8, rows & 255], size);
    data.set(decodeInterval(new Decoder(), header, part), n * rowsEach * width * ids.length);
  });
  return { width, height, precision, data: shift ? data.map((value) => value << shift) : data };
}

// All up to the pixels, without restarts and point transform; what these are; the place of the size.
function losslessHeader(stream) {
  const segments = [...jpegSegments(stream)];
  const { end } = segments.at(-1);
  const header = stream.slice(0, end);
  const size = segments.find(({ marker }) => marker === 0xc3).start;
  const restarts = segments.findLast(({ marker }) => marker === 0xdd)?.start;
  const interval = restarts ? 256 * stream[restarts] + stream[restarts + 1] : 0;
  if (restarts) header.fill(0, restarts, restarts + 2);
  header[end - 1] = 0;
  return { header, size, interval, shift: stream[end - 1] & 15 };
}

function restartIntervals(data) {
  const parts = [];
  let from = 0;
  for (let at = data.indexOf(0xff); at >= 0; at = data.indexOf(0xff, at + 1)) {
    if ((data[at + 1] & 0xf8) !== 0xd0) continue;
    parts.push(data.subarray(from, at));
    from = at + 2;
  }
  return [...parts, data.subarray(from)];
}

function decodeInterval(decoder, header, part) {
  // The mean of two neighbours is a whole number (table H.1).
  decoder.select7 = (n) => (decoder.getPreviousX(n) + decoder.getPreviousY(n)) >> 1;
  // It loses the last pixels where the end marker follows their last bit: zeros instead.
  let end = header.length + part.length;
  while (part[end - header.length - 1] === 0xff) end--; // fill bytes
  const bytes = new Uint8Array(end + AHEAD);
  bytes.set(header);
  bytes.set(part.subarray(0, end - header.length), header.length);
  const data = decoder.decode(bytes.buffer);
  // It tells no broken stream by itself: was all of it needed, and no more?
  const { index } = decoder.stream;
  if (index < end || index > end + AHEAD) throw new RangeError("broken");
  return data;
}

/** JPEG of 8 bits: one component, or three as they are stored. */
export async function decodeJpegDct(stream) {
  const { width, height, precision, ids } = jpegFrame(stream);
  if (precision !== 8) throw new FilmError("compressed");
  const { data } = await decodeJpeg(ids.length === 1 ? stream : asStored(stream));
  const samples = ids.length;
  const found = new Uint8Array(width * height * samples);
  for (let n = 0; n < found.length; n++) {
    found[n] = data[4 * Math.floor(n / samples) + (n % samples)];
  }
  return { width, height, precision, data: found };
}

// The stream without what libjpeg takes for a reason to convert colours.
function asStored(stream) {
  const parts = [[0xff, 0xd8], [0xff, 0xee, 0, 14, 65, 100, 111, 98, 101, 0, 100, 0, 0, 0, 0, 0]];
  let last = 2;
  for (const { marker, at, end } of jpegSegments(stream)) {
    if (marker !== 0xe0 && marker !== 0xee) parts.push(stream.subarray(at, end));
    last = end;
  }
  parts.push(stream.subarray(last));
  const found = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let to = 0;
  for (const part of parts) {
    found.set(part, to);
    to += part.length;
  }
  return found;
}
