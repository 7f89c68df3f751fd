// The network in a worker, so that the page stays alive while it computes.
//
// In: {settings, threads} first, then {id, file} for each film. Out: {loaded, total} in bytes,
// {ready: milliseconds}, then for each film {id, isComputing}, and {id, result} or {id, problem}.

import { FilmError } from "./film_error.js";
import { Predictor } from "./predictor.js";

let predictor = null;
let before = Promise.resolve(); // one film at a time, in their order

self.addEventListener("message", ({ data }) => {
  before = before.then(() => (data.settings ? load(data) : look(data)));
});

async function load({ settings, threads }) {
  const start = performance.now();
  try {
    const bytes = await fetchAll(settings.files);
    predictor = await Predictor.load(settings, bytes, threads);
    self.postMessage({ ready: performance.now() - start });
  } catch (error) {
    self.postMessage({ failed: String(error) });
  }
}

async function fetchAll(files) {
  const total = Object.values(files).reduce((sum, { size }) => sum + size, 0);
  let loaded = 0;
  const fetched = Object.entries(files).map(async ([name, { path, size }]) => {
    const response = await fetch(path);
    if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
    const bytes = new Uint8Array(size);
    let at = 0;
    for (const reader = response.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      if (at + value.length > size) throw new Error(`${path}: larger than exported`);
      bytes.set(value, at);
      at += value.length;
      loaded += value.length;
      self.postMessage({ loaded, total });
    }
    if (at !== size) throw new Error(`${path}: cut off after ${at} bytes`);
    return [name, bytes];
  });
  return Object.fromEntries(await Promise.all(fetched));
}

async function look({ id, file }) {
  if (!predictor) return;
  self.postMessage({ id, isComputing: true });
  const start = performance.now();
  try {
    const bytes = new Uint8Array(await file.arrayBuffer());
    const result = await predictor.predict(bytes);
    result.seconds = (performance.now() - start) / 1000;
    const moved = [result.probs.buffer, result.maps.buffer, result.picture.grey.buffer];
    self.postMessage({ id, result }, moved);
  } catch (error) {
    const known = error instanceof FilmError ? error : new FilmError("unreadable");
    self.postMessage({ id, problem: { key: known.key, values: known.values } });
  }
}
