// Pillow's resize of 8-bit pictures, to the bit (its src/libImaging/Resample.c): a filter that is as
// wide as the pixels that become one, coefficients in fixed point, each of the two passes rounded.

const PRECISION = 22; // bits behind the point of a coefficient

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
};

/** Resize a picture {width, height, grey: Uint8Array} to other sides, in pixels. */
export function resize(picture, width, height, filter = "bilinear") {
  let { width: wide, grey } = picture;
  if (width !== wide) {
    const rows = new Uint8Array(width * picture.height);
    pass(grey, rows, FILTERS[filter], wide, width, picture.height, 1, wide, 1, width);
    [grey, wide] = [rows, width];
  }
  if (height !== picture.height) {
    const columns = new Uint8Array(wide * height);
    pass(grey, columns, FILTERS[filter], picture.height, height, wide, wide, 1, wide, 1);
    grey = columns;
  }
  return { width: wide, height, grey };
}

// Resize `lines` lines of `size` pixels to `newSize`. Pixels of a line are `step` apart, lines
// `lineStep`; in the target `newStep` and `newLineStep`.
function pass(source, target, filter, size, newSize, lines, step, lineStep, newStep, newLineStep) {
  for (let to = 0; to < newSize; to++) {
    const { first, weights } = coefficients(filter, size, newSize, to);
    for (let line = 0; line < lines; line++) {
      let at = line * lineStep + first * step;
      let sum = 1 << (PRECISION - 1);
      for (const weight of weights) {
        sum += source[at] * weight;
        at += step;
      }
      const value = sum >> PRECISION;
      target[line * newLineStep + to * newStep] = value < 0 ? 0 : value > 255 ? 255 : value;
    }
  }
}

// Which pixels become pixel `to`, from `first` on, and with what weights: Int32Array.
function coefficients({ support, weight }, size, newSize, to) {
  const scale = size / newSize;
  const stretch = Math.max(scale, 1);
  const center = (to + 0.5) * scale;
  const first = Math.max(Math.trunc(center - support * stretch + 0.5), 0);
  const end = Math.min(Math.trunc(center + support * stretch + 0.5), size);
  const shares = [];
  for (let from = first; from < end; from++) {
    shares.push(weight((from - center + 0.5) * (1 / stretch)));
  }
  const total = shares.reduce((sum, share) => sum + share, 0);
  const fixed = shares.map((share) => Math.trunc(0.5 + (share / total) * 2 ** PRECISION));
  return { first, weights: Int32Array.from(fixed) };
}

/** Resize the short side of a picture to so many pixels, as `dataset.read_film` does. */
export function resizeShort(picture, side) {
  const { width, height } = picture;
  // torchvision's Resize: the long side is cut, not rounded, to a whole number.
  const long = Math.trunc((side * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? resize(picture, side, long) : resize(picture, long, side);
}
