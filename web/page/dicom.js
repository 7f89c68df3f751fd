// Films in uncompressed DICOM files, by dicom-parser: the grey values that a viewer would show, as
// 8 bits, as films/dicom.py has them. Nothing in a file but its pixels and what says how to
// show them is read.

import { Inflate } from "./packages/fflate/esm/browser.js";
import "./packages/dicom-parser/dist/dicomParser.min.js";
import { checkSides, FilmError, rint } from "./film_error.js";

const { parseDicom } = globalThis.dicomParser;

const MODALITIES = ["CR", "DX", "SC"];
// The names of others that may be shown; any other text might be a person's.
const OTHER_MODALITIES = ["CT", "MR", "MG", "US", "XA", "RF", "NM", "PT", "PX", "OT"];
const UNCOMPRESSED = [
  "1.2.840.10008.1.2", // implicit, little endian
  "1.2.840.10008.1.2.1", // explicit, little endian
  "1.2.840.10008.1.2.1.99", // the same, deflated
  "1.2.840.10008.1.2.2", // explicit, big endian
];
const INFLATED_LIMIT = 2 ** 29; // bytes: twice a film of 10,000 x 10,000 pixels of 16 bits
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

export function isDicom(bytes) {
  return String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
}

/** Read a film from a DICOM file, a Uint8Array: {width, height, grey}. Throws a FilmError. */
export function readDicom(bytes) {
  try {
    const syntax = parseDicom(bytes, { untilTag: "x00020010", inflater }).string("x00020010");
    if (!UNCOMPRESSED.includes(syntax)) throw new FilmError("compressed");
    const file = parseDicom(bytes, { inflater });
    const big = syntax === BIG_ENDIAN;
    refuseOthers(file);
    return showPixels(file, big, greyTable(file, big));
  } catch (error) {
    // dicom-parser throws texts, too, with values of the file in them.
    throw error instanceof FilmError ? error : new FilmError("broken", { kind: "DICOM" });
  }
}

function inflater(bytes, start) {
  const chunks = [bytes.subarray(0, start)];
  let size = start;
  const inflate = new Inflate((chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > INFLATED_LIMIT) throw new RangeError("too large");
  });
  for (let at = start; at < bytes.length; at += 65536) {
    inflate.push(bytes.subarray(at, at + 65536), at + 65536 >= bytes.length);
  }
  const whole = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function refuseOthers(file) {
  const [rows, columns] = [file.uint16("x00280010"), file.uint16("x00280011")];
  if (rows === undefined || columns === undefined) throw new FilmError("noPicture");
  const modality = file.string("x00080060");
  if (!MODALITIES.includes(modality)) {
    throw new FilmError("modality", { got: OTHER_MODALITIES.includes(modality) ? modality : "?" });
  }
  if ((file.intString("x00280008") || 1) > 1) throw new FilmError("frames");
  const shown = file.string("x00280004");
  if (file.uint16("x00280002") !== 1 || !["MONOCHROME1", "MONOCHROME2"].includes(shown)) {
    throw new FilmError("colours");
  }
  checkSides(columns, rows);
  const [allocated, stored] = [file.uint16("x00280100"), file.uint16("x00280101")];
  if (![8, 16].includes(allocated) || !(stored >= 1 && stored <= allocated)) {
    throw new FilmError("bits");
  }
  if ((file.uint16("x00280102") ?? stored - 1) !== stored - 1) throw new FilmError("highBit");
}

// What each stored value becomes, Uint8Array [2 ** Bits Stored], and the first of them.
function greyTable(file, big) {
  const bits = file.uint16("x00280101");
  if (file.uint16("x00280103") === undefined) throw new RangeError("no Pixel Representation");
  const isSigned = file.uint16("x00280103") === 1;
  const first = isSigned ? -(2 ** (bits - 1)) : 0;
  const stored = Float64Array.from({ length: 2 ** bits }, (_, n) => first + n);
  const values = modalityValues(file, stored, isSigned, big);
  const shares = shownShares(file, values, isSigned, big);
  if (!shares.every(Number.isFinite)) throw new FilmError("flat");
  const isTurned = file.string("x00280004") === "MONOCHROME1";
  const table = Uint8Array.from(shares, (x) => rint(255 * (isTurned ? 1 - x : x)));
  return { table, first };
}

// Stored values in the units of the modality (DICOM PS3.3, C.11.1).
function modalityValues(file, stored, isSigned, big) {
  const lut = firstItem(file, "x00283000");
  if (lut) return lookUp(readLut(lut, isSigned, big), stored);
  const [intercept, slope] = [file.floatString("x00281052"), file.floatString("x00281053")];
  if (intercept === undefined || slope === undefined) return stored;
  return stored.map((value) => value * slope + intercept);
}

// Where values lie between black, 0, and white, 1 (DICOM PS3.3, C.11.2).
function shownShares(file, values, isSigned, big) {
  const lutItem = firstItem(file, "x00283010");
  if (lutItem) {
    const lut = readLut(lutItem, isSigned, big);
    const shown = lookUp(lut, values.map(rint));
    return shown.map((value) => value / (2 ** lut.depth - 1));
  }
  const [center, width] = [file.floatString("x00281050"), file.floatString("x00281051")];
  if (center !== undefined && width !== undefined) {
    const kind = file.string("x00281056") || "LINEAR";
    const least = kind === "LINEAR" ? 1 : 1e-6;
    const isKnown = ["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(kind);
    if (!isKnown || !Number.isFinite(center) || !(width >= least) || !Number.isFinite(width)) {
      throw new FilmError("window");
    }
    return values.map((value) => windowShare(value, center, width, kind));
  }
  const low = values.reduce((a, b) => Math.min(a, b));
  const high = values.reduce((a, b) => Math.max(a, b));
  return values.map((value) => (value - low) / (high - low));
}

function windowShare(value, center, width, kind) {
  if (kind === "SIGMOID") {
    const exponent = (-4 * (value - center)) / width;
    return 1 / (1 + Math.exp(Math.min(Math.max(exponent, -700), 700)));
  }
  if (kind === "LINEAR") [center, width] = [center - 0.5, width - 1];
  if (width === 0) return value > center ? 1 : 0;
  return Math.min(Math.max((value - center) / width + 0.5, 0), 1);
}

function firstItem(file, tag) {
  const element = file.elements[tag];
  if (element?.length && !element.items) throw new RangeError("a sequence that cannot be read");
  return element?.items?.[0]?.dataSet;
}

// A lookup table: its values, the first value that it maps, and its bits.
function readLut(item, isSigned, big) {
  const length = item.uint16("x00283002", 0) || 65536;
  const { vr } = item.elements.x00283002; // without one, as Pixel Representation says
  const isFirstSigned = vr ? vr === "SS" : isSigned;
  const first = isFirstSigned ? item.int16("x00283002", 1) : item.uint16("x00283002", 1);
  const depth = item.uint16("x00283002", 2);
  const { dataOffset, length: size } = item.elements.x00283006;
  const view = new DataView(item.byteArray.buffer, item.byteArray.byteOffset + dataOffset, size);
  const data = Float64Array.from({ length }, (_, n) => view.getUint16(2 * n, !big));
  return { data, first, depth };
}

function lookUp({ data, first }, values) {
  return values.map((value) => data[Math.min(Math.max(value - first, 0), data.length - 1)]);
}

function showPixels(file, big, { table, first }) {
  const [height, width] = [file.uint16("x00280010"), file.uint16("x00280011")];
  const { dataOffset, length } = file.elements.x7fe00010;
  const bytesEach = file.uint16("x00280100") / 8;
  const unused = 32 - file.uint16("x00280101");
  const isSigned = first < 0;
  const start = file.byteArray.byteOffset + dataOffset;
  if (length < width * height * bytesEach) throw new RangeError("truncated");
  const view = new DataView(file.byteArray.buffer, start, length);
  const isSwapped = big && bytesEach === 1 && file.elements.x7fe00010.vr === "OW";
  const grey = new Uint8Array(width * height);
  for (let n = 0; n < grey.length; n++) {
    const raw = bytesEach === 2 ? view.getUint16(2 * n, !big) : view.getUint8(isSwapped ? n ^ 1 : n);
    // The bits above Bits Stored are no part of the value.
    const value = isSigned ? (raw << unused) >> unused : (raw << unused) >>> unused;
    grey[n] = table[value - first];
  }
  return { width, height, grey };
}
