// Films in DICOM files, by dicom-parser: the grey values that a viewer would show, as 8 bits, as
// films/dicom.py has them. Nothing in a file but its pixels and what says how to show them is
// read.

import { Inflate } from "./packages/fflate/esm/browser.js";
import "./packages/dicom-parser/dist/dicomParser.min.js";
import { checkSyntax, readPatterns } from "./dicom_pixels.js";
import { displayShutter } from "./dicom_shutter.js";
import { checkSides, equalChannels, FilmError, rint } from "./film_error.js";
import { endsOf, greyTable } from "./grey_values.js";

const { parseDicom } = globalThis.dicomParser;

const MODALITIES = ["CR", "DX", "RG", "SC"];
// The names of others that may be shown; any other text might be a person's.
const OTHER_MODALITIES = ["CT", "MR", "MG", "US", "XA", "RF", "NM", "PT", "PX", "OT"];
const GREY = ["MONOCHROME1", "MONOCHROME2"];
const COLOURS = ["RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"];
const INFLATED_LIMIT = 2 ** 29; // bytes: twice a film of 10,000 x 10,000 pixels of 16 bits
const BIG_ENDIAN = "1.2.840.10008.1.2.2";

export function isDicom(bytes) {
  return String.fromCharCode(...bytes.subarray(128, 132)) === "DICM";
}

/** Read a film from a DICOM file, as `readFilm` in film.js. */
export async function readDicom(bytes) {
  try {
    const syntax = parseDicom(bytes, { untilTag: "x00020010", inflater }).string("x00020010");
    checkSyntax(syntax);
    const file = parseDicom(bytes, { inflater });
    refuseOthers(file);
    const rules = greyTable(file, syntax === BIG_ENDIAN);
    const { shown, covered } = displayShutter(file);
    const patterns = await readPatterns(file, syntax);
    const film =
      patterns.samples === 3 ? showColours(file, patterns) : showGrey(patterns, rules, shown);
    for (let n = 0; shown && n < shown.length; n++) if (!shown[n]) film.grey[n] = covered;
    return film;
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
