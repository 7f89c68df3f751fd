// What is wrong with a film: a key of words.js, and what its text has in {braces}.
export class FilmError extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

export const SIDES = [32, 10000]; // pixels

/** Throw unless a film of this size is worth looking at. */
export function checkSides(width, height) {
  if (Math.min(width, height) < SIDES[0] || Math.max(width, height) > SIDES[1]) {
    throw new FilmError("sides", { width, height });
  }
}

/** Round as NumPy's rint does: halves to even. */
export function rint(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}

/** Take the first of three channels that must be equal; `step` values belong to each pixel. */
export function equalChannels(data, step, pixels) {
  const grey = new (data instanceof Uint16Array ? Uint16Array : Uint8Array)(pixels);
  for (let n = 0, at = 0; n < pixels; n++, at += step) {
    if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) throw new FilmError("colours");
    grey[n] = data[at];
  }
  return grey;
}
