// The network on ten crops of a film, through ONNX Runtime's WebAssembly, as model.TenCrop and
// inference/activation_maps.py compute it. Runs in the browser and in Node.

import * as ort from "./packages/onnxruntime-web/dist/ort.wasm.min.js";
import { rint } from "./film_error.js";

const FOLDER = new URL("./packages/onnxruntime-web/dist/", import.meta.url).href;
// Crops in a run: a fifth of the memory of ten, at the same speed.
const AT_ONCE = 2;

export class Network {
  /**
   * @param model the ONNX file, Uint8Array: crops uint8 [N, 1, size, size] in, probabilities
   *   [N, C] and class activation maps [N, C, h, w] out.
   * @param runtime ONNX Runtime's .wasm file, ArrayBuffer.
   * @param size side of a crop, pixels.
   * @param threads more than one need a page that is cross-origin isolated.
   */
  static async load(model, runtime, size, threads) {
    ort.env.wasm.wasmPaths = { mjs: `${FOLDER}ort-wasm-simd-threaded.js` };
    ort.env.wasm.wasmBinary = runtime;
    ort.env.wasm.numThreads = threads;
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    return new Network(session, size);
  }

  constructor(session, size) {
    this.session = session;
    this.size = size;
  }

  /**
   * @param film {width, height, grey}, resized.
   * @returns {probs: Float32Array [C], maps: Float32Array [10, C, h, w], mapSides: [h, w]}
   */
  async predict(film) {
    const { size } = this;
    const crops = cutCrops(film, size);
    const sums = [];
    let maps = null;
    let mapSides = null;
    for (let first = 0; first < 10; first += AT_ONCE) {
      const some = crops.subarray(first * size * size, (first + AT_ONCE) * size * size);
      const input = new ort.Tensor("uint8", some, [AT_ONCE, 1, size, size]);
      const { probabilities, maps: found } = await this.session.run({ crops: input });
      const classes = probabilities.dims[1];
      probabilities.data.forEach((prob, n) => {
        sums[n % classes] = (sums[n % classes] ?? 0) + prob;
      });
      maps ??= new Float32Array((10 / AT_ONCE) * found.data.length);
      maps.set(found.data, (first / AT_ONCE) * found.data.length);
      mapSides = found.dims.slice(2);
      for (const tensor of [input, probabilities, found]) tensor.dispose();
    }
    // Probabilities are averaged, not logits: the reference does, and the ranks differ.
    return { probs: Float32Array.from(sums, (sum) => sum / 10), maps, mapSides };
  }
}

/** Top and left of the five crops of a film: corners, then the centre. */
export function cropPlaces(width, height, size) {
  const [bottom, right] = [height - size, width - size];
  const corners = [[0, 0], [0, right], [bottom, 0], [bottom, right]];
  return [...corners, [rint(bottom / 2), rint(right / 2)]]; // as Python rounds
}

// The five crops of a film, then those of its mirror image: Uint8Array [10, size, size].
function cutCrops({ width, height, grey }, size) {
  const crops = new Uint8Array(10 * size * size);
  let to = 0;
  for (const isMirrored of [false, true]) {
    for (const [top, left] of cropPlaces(width, height, size)) {
      for (let y = top; y < top + size; y++) {
        for (let x = left; x < left + size; x++) {
          crops[to++] = grey[y * width + (isMirrored ? width - 1 - x : x)];
        }
      }
    }
  }
  return crops;
}

/** Tell whether the crops leave no part of a film out, as a map of it needs. */
export function coversFilm(width, height, size) {
  const covered = new Uint8Array(width * height);
  for (const [top, left] of cropPlaces(width, height, size)) {
    for (let y = top; y < top + size; y++) {
      covered.fill(1, y * width + left, y * width + left + size);
    }
  }
  return covered.every(Boolean);
}

/**
 * Put the ten maps of a class back where they were cut, and average them: each counts most in its
 * middle and linearly less towards its edge, as activation_maps.join_crops has it.
 *
 * @param found what `predict` returned.
 * @param c index of the class.
 * @param classes how many there are.
 * @param film {width, height} of the film that was predicted.
 * @param size side of a crop, pixels.
 * @returns Float32Array [height, width], in the units of the logit.
 */
export function joinMaps({ maps, mapSides: [h, w] }, c, classes, { width, height }, size) {
  const sums = new Float64Array(width * height);
  const weights = new Float64Array(width * height);
  const [across, down] = [w, h].map((from) => stretched(from, size).map(smooth));
  const places = cropPlaces(width, height, size);
  for (let crop = 0; crop < 10; crop++) {
    const map = maps.subarray((crop * classes + c) * h * w, (crop * classes + c + 1) * h * w);
    const [top, left] = places[crop % 5];
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const column = crop < 5 ? left + x : width - 1 - left - x;
        const at = (top + y) * width + column;
        const weight = down[y].ramp * across[x].ramp;
        sums[at] += weight * bilinear(map, w, down[y], across[x]);
        weights[at] += weight;
      }
    }
  }
  return Float32Array.from(sums, (sum, n) => sum / weights[n]);
}

// For each of `size` pixels over which `from` values are stretched: the two values that it lies
// between, the share of the second, and how far it is from the edge, from 0 to 1.
function stretched(from, size) {
  return Array.from({ length: size }, (_, n) => {
    const place = Math.max(((n + 0.5) * from) / size - 0.5, 0);
    const low = Math.floor(place);
    const ramp = (size - Math.abs(2 * n + 1 - size)) / size;
    return { low, high: Math.min(low + 1, from - 1), share: place - low, ramp };
  });
}

// No kink at a value, as the straight line has: several crops' kinks in one place look like an edge.
function smooth({ share, ...place }) {
  return { ...place, share: share * share * (3 - 2 * share) };
}

function bilinear(map, width, row, column) {
  const at = (y) =>
    map[y * width + column.low] * (1 - column.share) + map[y * width + column.high] * column.share;
  return at(row.low) * (1 - row.share) + at(row.high) * row.share;
}

/** Stretch a map over a picture, bilinearly, and scale it to 0 for its least, 1 for its largest. */
export function strengths(map, { width, height }, shownWidth, shownHeight) {
  const across = stretched(width, shownWidth);
  const down = stretched(height, shownHeight);
  const drawn = new Float32Array(shownWidth * shownHeight);
  let [low, high] = [Infinity, -Infinity];
  for (let y = 0, n = 0; y < shownHeight; y++) {
    for (let x = 0; x < shownWidth; x++, n++) {
      drawn[n] = bilinear(map, width, down[y], across[x]);
      low = Math.min(low, drawn[n]); // as it was rounded to float32
      high = Math.max(high, drawn[n]);
    }
  }
  return high > low ? drawn.map((value) => (value - low) / (high - low)) : drawn.fill(0);
}
