// The network in a worker, so that the page stays alive while it computes.
//
// In: {settings, threads} first, then {id, file} for each film. Out: {loaded, total} in bytes,
// {ready: milliseconds}, then for each film {id, isComputing}, and {id, result} or {id, problem}.

import { kindOf } from "./film.js";
import { FilmError } from "./film_error.js";
import { Predictor } from "./predictor.js";

let predictor = null;
let before = Promise.resolve(); // one film at a time, in their order

self.addEventListener("message", ({ data }) => {
  before = before.then(() => (data.settings ? load(data) : look(data)));
});

async function load({ settings, threads }) {
  const start = performance.now();
  const stop = new AbortController();
  try {
    const bytes = await fetchAll(settings.files, stop.signal);
    predictor = await Predictor.load(settings, bytes, threads, fetchFile);
    self.postMessage({ ready: performance.now() - start });
  } catch (error) {
    stop.abort();
    self.postMessage({ failed: String(error) });
  }
}

async function fetchAll(files, signal) {
  const total = Object.values(files).reduce((sum, { size }) => sum + size, 0);
  let loaded = 0;
  const hear = (more) => {
    loaded += more;
    if (!signal.aborted) self.postMessage({ loaded, total });
  };
  const fetched = Object.entries(files).map(async ([name, file]) => {
    return [name, await fetchFile(file, signal, hear)];
  });
  return Object.fromEntries(await Promise.all(fetched));
}

async function fetchFile({ path, size }, signal, hear = () => {}) {
  const response = await fetch(path, { signal });
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    at += value.length;
    if (at <= size) bytes.set(value, at - value.length);
    hear(value.length);
  }
  await check(path, at === size, bytes);
  return bytes;
}

// A file of another size or content than its name says may have been kept: it is not to come again.
async function check(path, isWhole, bytes) {
  let isRight = isWhole;
  if (isRight && self.crypto.subtle) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    const digits = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    isRight = path.includes(`-${digits.slice(0, 12)}.`);
  }
  if (isRight) return;
  const names = await (self.caches?.keys() ?? []);
  for (const name of names) await (await caches.open(name)).delete(new URL(path, location));
  throw new Error(`${path}: not the file that was exported`);
}

async function look({ id, file }) {
  self.postMessage({ id, isComputing: true });
  const start = performance.now();
  try {
    if (!predictor) throw new FilmError("noNetworkFor");
    kindOf(new Uint8Array(await file.slice(0, 132).arrayBuffer())); // before all of it is read
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
