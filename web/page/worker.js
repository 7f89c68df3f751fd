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
    if (!signal.aborted) self.postMessage({ loaded: Math.min(loaded, total), total });
  };
  const fetched = Object.entries(files).map(async ([name, file]) => {
    return [name, await fetchFile(file, signal, hear)];
  });
  return Object.fromEntries(await Promise.all(fetched));
}

// What is kept of an earlier visit may be cut off, or of another export: then it is asked for anew.
async function fetchFile(file, signal, hear = () => {}) {
  for (const cache of ["default", "reload"]) {
    const bytes = await fetchBytes(file, { signal, cache }, hear);
    if (bytes && (await isRight(file.path, bytes))) return bytes;
  }
  throw new Error(`${file.path}: not the file that was exported`);
}

// The bytes of a file; null if it is of another size.
async function fetchBytes({ path, size }, options, hear) {
  const response = await fetch(path, options);
  if (!response.ok) throw new Error(`${path}: HTTP ${response.status}`);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return at === size ? bytes : null;
    if (at + value.length <= size) bytes.set(value, at);
    at += value.length;
    hear(value.length);
  }
}

// Is it of the content that its name says? Without HTTPS there is no digest.
async function isRight(path, bytes) {
  if (!self.crypto.subtle) return true;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  const digits = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return path.includes(`-${digits.slice(0, 12)}.`);
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
