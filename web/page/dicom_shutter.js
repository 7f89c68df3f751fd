// Display shutters of DICOM films (PS3.3, C.7.6.11), as films/dicom_shutter.py has them.

import { FilmError, rint } from "./film_error.js";
import { placesOf } from "./grey_values.js";

const EDGES = ["x00181602", "x00181604", "x00181606", "x00181608"]; // left, right, upper, lower
const CIRCLE = ["x00181610", "x00181612"]; // centre: row and column; radius
const VERTICES = ["x00181620"]; // row and column of each
const SHAPES = { // each fills a picture, or says that it cannot be drawn
  RECTANGULAR: fillRectangle,
  RECTANGLE: fillRectangle, // what some writers call it
  CIRCULAR: fillCircle,
  POLYGONAL: fillPolygon,
};
const LEAST = 32 * 32; // pixels: the smallest film that is read
const FARTHEST = 2 ** 20; // pixels: products of coordinates stay exact

/**
 * Find what a film's shutter leaves to be seen, and what covers the rest: {shown, covered}.
 *
 * shown: Uint8Array of 1 and 0 for each pixel; null for a film without a shutter. covered: grey.
 */
export function displayShutter(file) {
  const place = placesOf(file).find((some) => some.string("x00181600"));
  if (!place) return { shown: null, covered: 0 };
  const names = place.string("x00181600").split("\\").map((name) => name.trim());
  if (names.includes("BITMAP")) throw new FilmError("shutter");
  const [height, width] = [file.uint16("x00280010"), file.uint16("x00280011")];
  let shown = null;
  for (const [name, fill] of Object.entries(SHAPES)) {
    if (!names.includes(name)) continue;
    const shape = new Uint8Array(height * width);
    if (!fill(place, shape, width, height)) continue;
    let left = 0;
    for (let n = 0; n < shape.length; n++) left += shape[n] &= shown ? shown[n] : 1;
    if (left >= LEAST) shown = shape;
  }
  return { shown, covered: rint(255 * ((place.uint16("x00181622") ?? 0) / 0xffff)) };
}

// The whole numbers of elements; [] where there are others.
function numbersOf(place, tags) {
  const texts = tags.flatMap((tag) => (place.string(tag) ?? "").split("\\"));
  const isDecimal = (text) => /^\s*[+-]?\d+(\.\d*)?(e[+-]?\d+)?\s*$/i.test(text);
  const numbers = texts.map((text) => (isDecimal(text) ? Number(text) : NaN));
  const isRight = (number) => Number.isInteger(number) && Math.abs(number) <= FARTHEST;
  return numbers.every(isRight) ? numbers : [];
}

// Fill columns of a row, both ends included; the first is 1, as the first row.
function fillRow(shape, width, row, first, last) {
  const start = (row - 1) * width;
  const [from, to] = [Math.max(first, 1) - 1, Math.min(last, width)];
  if (from < to) shape.fill(1, start + from, start + to);
}

function fillRectangle(place, shape, width, height) {
  const edges = numbersOf(place, EDGES);
  if (edges.length !== 4) return false;
  const [left, right, top, bottom] = edges;
  for (let row = 1; row <= height; row++) {
    if (row < Math.min(top, bottom) || row > Math.max(top, bottom)) continue;
    fillRow(shape, width, row, Math.min(left, right), Math.max(left, right));
  }
  return true;
}

function fillCircle(place, shape, width, height) {
  const numbers = numbersOf(place, CIRCLE);
  if (numbers.length !== 3) return false;
  const [centerRow, centerColumn, radius] = numbers;
  for (let row = 1; row <= height; row++) {
    const square = radius ** 2 - (row - centerRow) ** 2;
    const half = Math.floor(Math.sqrt(square)); // not a number above and below the circle
    if (square >= 0) fillRow(shape, width, row, centerColumn - half, centerColumn + half);
  }
  return true;
}

// Within it is what an odd number of edges is to the left of, and pixels whose centre is on one.
function fillPolygon(place, shape, width, height) {
  const numbers = numbersOf(place, VERTICES);
  if (numbers.length < 6 || numbers.length % 2) return false;
  const vertices = [];
  for (let n = 0; n < numbers.length; n += 2) vertices.push([numbers[n], numbers[n + 1]]);
  const edges = vertices.map((vertex, n) =>
    [vertex, vertices[(n + 1) % vertices.length]].sort((a, b) => a[0] - b[0] || a[1] - b[1]),
  );
  for (let row = 1; row <= height; row++) {
    const crossings = []; // first columns behind an edge
    for (const [[top, start], [bottom, end]] of edges) {
      if (row < top || row > bottom) continue;
      if (top === bottom) {
        fillRow(shape, width, row, start, end);
        continue;
      }
      const place = (start * (bottom - top) + (row - top) * (end - start)) / (bottom - top);
      if (Number.isInteger(place)) fillRow(shape, width, row, place, place);
      if (row < bottom) crossings.push(Math.ceil(place));
    }
    crossings.sort((a, b) => a - b);
    for (let n = 0; n < crossings.length; n += 2) {
      fillRow(shape, width, row, crossings[n], crossings[n + 1] - 1);
    }
  }
  return true;
}
