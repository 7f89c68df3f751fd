// What stored values of a DICOM file become: a table of 8-bit grey values, as films/grey_values.py
// makes it, by the rules of DICOM PS3.3, C.11.1, C.11.2 and C.7.5.1.1.2.

import { FilmError, rint } from "./film_error.js";

const PER_FRAME = "x52009230";
const SHARED = "x52009229";
const PIXEL_VALUES = "x00289145"; // Pixel Value Transformation Sequence, of a group
const FRAME_VOI = "x00289132"; // Frame VOI LUT Sequence
const FRAME_SHUTTER = "x00189472"; // Frame Display Shutter Sequence
const MODALITY_LUT = "x00283000";
const VOI_LUT = "x00283010";

/**
 * Make the table of a file: {table, values, full}.
 *
 * window: [centre, width] to use instead of the file's, or null.
 * table: Uint8Array [2 ** Bits Stored], in the order of unsigned numbers: the patterns of negative
 * values come last. values: what the patterns stand for after rescaling. full: the lowest and
 * highest value there could be, where nothing said which of them matter; else null.
 */
export function greyTable(file, big, window) {
  const bits = file.uint16("x00280101");
  if (file.uint16("x00280103") === undefined) throw new RangeError("no Pixel Representation");
  const isSigned = file.uint16("x00280103") === 1;
  const count = 2 ** bits;
  const stored = Float64Array.from({ length: count }, (_, n) =>
    isSigned && n >= count / 2 ? n - count : n,
  );
  const rules = new Rules(file, big);
  const values = modalityValues(stored, rules, isSigned);
  const { shares, full } = shownShares(values, rules, window);
  const [low, high] = endsOf(shares);
  if (!shares.every(Number.isFinite) || low === high) throw new FilmError("flat");
  const isTurned = file.string("x00280004") === "MONOCHROME1";
  const table = Uint8Array.from(shares, (x) => rint(255 * (isTurned ? 1 - x : x)));
  blacken(table, stored, file, isSigned);
  return { table, values, full };
}

/** Return the least and greatest of numbers. */
export function endsOf(numbers) {
  return [numbers.reduce((a, b) => Math.min(a, b)), numbers.reduce((a, b) => Math.max(a, b))];
}

/** Return what may say how to show a film: the file, its functional groups, and sequences of theirs. */
export function placesOf(file) {
  const groups = [PER_FRAME, SHARED].flatMap((tag) => itemsOf(file, tag).slice(0, 1));
  const within = groups.flatMap((group) =>
    [PIXEL_VALUES, FRAME_VOI, FRAME_SHUTTER].flatMap((tag) => itemsOf(group, tag).slice(0, 1)),
  );
  return [file, ...groups, ...within];
}

// What says how to show values: the file's elements, or its functional groups'.
class Rules {
  constructor(file, big) {
    this.big = big;
    this.places = placesOf(file);
  }

  // The first of several numbers: a file may offer several windows.
  number(tag) {
    const place = this.places.find((some) => some.string(tag));
    return place?.floatString(tag);
  }

  text(tag) {
    return this.places.find((some) => some.string(tag))?.string(tag);
  }

  lut(tag) {
    for (const place of this.places) {
      const found = itemsOf(place, tag).map((item) => readLut(item, this.big)).find(Boolean);
      if (found) return found;
    }
    return null;
  }
}

function itemsOf(dataSet, tag) {
  const element = dataSet.elements[tag];
  if (element?.length && !element.items) throw new RangeError("a sequence that cannot be read");
  return (element?.items ?? []).map((item) => item.dataSet);
}

// A lookup table: its values, the first value that it maps, 16 bits, and its depth; null for an
// item that says nothing. Entries of 8 bits may lie in a byte each, the first of two in the lower
// half of a word. The data decide how many there are, not the descriptor.
function readLut(item, big) {
  const [descriptor, data] = [item.elements.x00283002, item.elements.x00283006];
  if (descriptor?.length !== 6 || !data?.length) return null;
  const [count, first, depth] = [0, 1, 2].map((n) => item.uint16("x00283002", n));
  const view = new DataView(item.byteArray.buffer, item.byteArray.byteOffset + data.dataOffset);
  const words = Array.from({ length: data.length >> 1 }, (_, n) => view.getUint16(2 * n, !big));
  const isPacked = depth <= 8 && words.length === (count + 1) >> 1;
  const entries = isPacked ? words.flatMap((word) => [word & 255, word >> 8]).slice(0, count) : words;
  if (entries.length < 2) return null;
  if (depth > 16) throw new FilmError("lut");
  const [, most] = endsOf(entries);
  return { entries, first, depth: Math.max(depth, bitLength(most)) };
}

/** Return how many bits a whole number takes. */
export function bitLength(number) {
  return number ? Math.floor(Math.log2(number)) + 1 : 0;
}

// Stored values in the units of the modality (C.11.1).
function modalityValues(stored, rules, isSigned) {
  const lut = rules.lut(MODALITY_LUT);
  if (lut) return lookUp(lut, stored, isSigned);
  const [intercept, slope] = [rules.number("x00281052"), rules.number("x00281053")];
  if (intercept === undefined && slope === undefined) return stored;
  const values = stored.map((value) => value * (slope ?? 1) + (intercept ?? 0));
  if (!values.every(Number.isFinite)) throw new FilmError("rescaling");
  return values;
}

// Where values lie between black, 0, and white, 1 (C.11.2).
function shownShares(values, rules, window) {
  if (window) {
    return { shares: values.map((value) => windowShare(value, ...window, "LINEAR")), full: null };
  }
  const [low, high] = endsOf(values);
  const lut = rules.lut(VOI_LUT);
  if (lut) {
    // The first value is signed where what goes in can be negative (C.11.2.1.1).
    const shown = lookUp(lut, values.map(rint), low < 0);
    return { shares: shown.map((value) => value / (2 ** lut.depth - 1)), full: null };
  }
  const [center, width] = [rules.number("x00281050"), rules.number("x00281051")];
  if (center !== undefined && width !== undefined) {
    const kind = rules.text("x00281056") || "LINEAR";
    const isKnown = ["LINEAR", "LINEAR_EXACT", "SIGMOID"].includes(kind);
    const isWide = kind === "LINEAR" ? width >= 1 : width > 0;
    if (!isKnown || !Number.isFinite(center) || !isWide || !Number.isFinite(width)) {
      throw new FilmError("window");
    }
    const shares = values.map((value) => windowShare(value, center, width, kind));
    return { shares, full: null };
  }
  const modality = rules.lut(MODALITY_LUT);
  const full = modality ? [0, 2 ** modality.depth - 1] : [low, high];
  const range = Math.max(full[1] - full[0], 1e-9);
  return { shares: values.map((value) => (value - full[0]) / range), full };
}

/** Return where a value lies in a window, from 0 to 1. */
export function windowShare(value, center, width, kind) {
  if (kind === "SIGMOID") {
    const exponent = (-4 * (value - center)) / width;
    return 1 / (1 + Math.exp(Math.min(Math.max(exponent, -700), 700)));
  }
  if (kind === "LINEAR") [center, width] = [center - 0.5, width - 1];
  if (width === 0) return value > center ? 1 : 0;
  return Math.min(Math.max((value - center) / width + 0.5, 0), 1);
}

function lookUp({ entries, first }, values, isSigned) {
  const start = signed(first, isSigned);
  const last = entries.length - 1;
  return values.map((value) => entries[Math.min(Math.max(value - start, 0), last)]);
}

// 16 bits as the rule for their sign reads them, whatever the element's type said.
function signed(number, isSigned) {
  return isSigned && number >= 0x8000 ? number - 0x10000 : number;
}

// Pixel Padding Value, or its range, is background, whatever it would look like (C.7.5.1.1.2).
function blacken(table, stored, file, isSigned) {
  const ends = [file.uint16("x00280120"), file.uint16("x00280121")]
    .filter((end) => end !== undefined)
    .map((end) => signed(end, isSigned));
  if (file.uint16("x00280120") === undefined) return;
  const [low, high] = endsOf(ends);
  stored.forEach((value, n) => {
    if (value >= low && value <= high) table[n] = 0;
  });
}
