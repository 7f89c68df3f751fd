// Films in DICOM files, by dicom-parser: the grey values that a viewer would show, as 8 bits, as
// films/dicom.py has them. Nothing in a file but its pixels and what says how to show them is
// read.

import { Inflate } from "./packages/fflate/esm/browser.js";
import "./packages/dicom-parser/dist/dicomParser.min.js";
import { checkSyntax, readPatterns } from "./dicom_pixels.js";
import { displayShutter } from "./dicom_shutter.js";
import { checkSides, equalChannels, FilmError, rint } from "./film_error.js";
import { endsOf, greyTable } from "./grey_values.js";

const { parseDicom, readPart10Header } = globalThis.dicomParser;

const MODALITIES = ["CR", "DX", "RG", "SC"];
// The names of others that may be shown; any other text might be a person's.
const OTHER_MODALITIES = ["CT", "MR", "MG", "US", "XA", "RF", "NM", "PT", "PX", "OT"];
const GREY = ["MONOCHROME1", "MONOCHROME2"];
const COLOURS = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"];
const INFLATED_LIMIT = 2 ** 29; // bytes: twice a film of 10,000 x 10,000 pixels of 16 bits
const IMPLICIT = "1.2.840.10008.1.2";
const EXPLICIT = "1.2.840.10008.1.2.1";
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

// Of what a file without preamble may begin with.
const FIRST_TYPES = ["UL", "OB", "UI", "CS", "SH", "DA", "TM", "DT", "LO"];

/** Tell whether a film's first 132 bytes are those of a DICOM file; old ones have no preamble. */
export function isDicom(bytes) {
  return hasPreamble(bytes) || hasNoPreamble(bytes.subarray(0, 132));
}

function textOf(bytes, start, end) {
  return String.fromCharCode(...bytes.subarray(start, end));
}

function hasPreamble(bytes) {
  return textOf(bytes, 128, 132) === "DICM";
}

// Do bytes begin with an element of group 2 or 8, as DICOM files do?
function hasNoPreamble(start) {
  const group = start[0] | (start[1] << 8);
  if (start.length < 132 || ![0x0002, 0x0008, 0x0200, 0x0800].includes(group)) return false;
  if (FIRST_TYPES.includes(textOf(start, 4, 6))) return true;
  // Without types: a short length, and another element of the group behind the value.
  const length = new DataView(start.buffer, start.byteOffset + 4).getUint32(0, true);
  const next = start[8 + length] | (start[9 + length] << 8);
  return group < 256 && length <= 120 && next === group;
}

// The file with the preamble that it lacks, and with its transfer syntax: what group 2 says, which
// may be without types as well, or what the element behind it looks like.
function withPreamble(bytes) {
  if (hasPreamble(bytes)) return bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const isTyped = (at) => FIRST_TYPES.includes(textOf(bytes, at + 4, at + 6));
  let [at, syntax] = [0, null];
  while (view.getUint16(at, true) === 2) {
    const element = view.getUint16(at + 2, true);
    const isLong = isTyped(at) && textOf(bytes, at + 4, at + 6) === "OB";
    const length = isTyped(at) && !isLong
      ? view.getUint16(at + 6, true)
      : view.getUint32(at + (isLong ? 8 : 4), true);
    const start = at + (isLong ? 12 : 8);
    at = start + length;
    if (element === 0x10) syntax = textOf(bytes, start, at);
  }
  syntax ??= (isTyped(at) ? (bytes[at] ? EXPLICIT : BIG_ENDIAN) : IMPLICIT) + "\0";
  const element = `\x02\0\x10\0UI${String.fromCharCode(syntax.length)}\0${syntax}`;
  const head = `${"\0".repeat(128)}DICM${element}`;
  const whole = new Uint8Array(head.length + bytes.length - at);
  whole.set(Array.from(head, (letter) => letter.charCodeAt(0)));
  whole.set(bytes.subarray(at), head.length);
  return whole;
}

/** Read a film from a DICOM file, as `readFilm` in film.js. */
export async function readDicom(content, window) {
  try {
    const bytes = withPreamble(content);
    const syntax = readPart10Header(bytes).string("x00020010");
    checkSyntax(syntax);
    const file = parsed(bytes);
    refuseOthers(file);
    const rules = greyTable(file, syntax === BIG_ENDIAN, window);
    const { shown, covered } = displayShutter(file);
    const patterns = await readPatterns(file, syntax);
    const film =
      patterns.samples === 3 ? showColours(file, patterns) : showGrey(patterns, rules, shown);
    for (let n = 0; shown && n < shown.length; n++) if (!shown[n]) film.grey[n] = covered;
    return { ...film, header: headerOf(file) };
  } catch (error) {
    // dicom-parser throws texts, too, with values of the file in them.
    throw error instanceof FilmError ? error : new FilmError("broken", { kind: "DICOM" });
  }
}

// What may say that this is no frontal chest film: `headerDoubt` in meaning.js.
function headerOf(file) {
  const [view, alongRow, part, intent] = ["x00185101", "x00200020", "x00180015", "x00080068"].map(
    (tag) => file.string(tag, tag === "x00200020" ? 0 : undefined) ?? "",
  );
  return { view, alongRow, part, intent };
}

function parsed(bytes) {
  try {
    return parseDicom(bytes, { inflater });
  } catch (error) {
    if (error.dataSet?.elements.x7fe00010) return error.dataSet; // what is behind the pixels is broken
    throw error;
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
  const known = { 1: GREY, 3: COLOURS }[file.uint16("x00280002")];
  if (!known?.includes(file.string("x00280004"))) throw new FilmError("otherColours");
  checkSides(columns, rows);
  const [allocated, stored] = [file.uint16("x00280100"), file.uint16("x00280101")];
  if (![8, 16].includes(allocated) || !(stored >= 1 && stored <= allocated)) {
    throw new FilmError("bits");
  }
  if ((file.uint16("x00280102") ?? stored - 1) !== stored - 1) throw new FilmError("highBit");
}

// The pixels through the table, and the span of the values that a shutter shows: the lowest and
// highest that there are and that there could be, where nothing says which of them matter; else null.
function showGrey({ width, height, data }, { table, values, full }, shown) {
  const grey = new Uint8Array(data.length);
  const isThere = new Uint8Array(table.length);
  const used = table.length - 1; // the bits above Bits Stored are no part of the value
  for (let n = 0; n < grey.length; n++) {
    const value = data[n] & used;
    if (!shown || shown[n]) isThere[value] = 1;
    grey[n] = table[value];
  }
  if (!full || table.length <= 256) return { width, height, grey, span: null };
  const span = [...endsOf(values.filter((_, n) => isThere[n])), ...full];
  return { width, height, grey, span };
}

// A grey film that is stored in colours: all of its range is black to white.
function showColours(file, { width, height, data }) {
  const most = 2 ** file.uint16("x00280101") - 1;
  for (let n = 0; n < data.length; n++) data[n] &= most;
  const grey = equalChannels(data, 3, width * height).map((value) => rint((255 * value) / most));
  return { width, height, grey: Uint8Array.from(grey), span: null };
}
