// What an exported folder predicts of films, in Node: node check.mjs FOLDER FILM [FILM ...]
//
// Prints a line of JSON for each film: {"probs": [...]} or {"problem": key of words.js}.

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, ...films] = process.argv.slice(2);
const { Predictor } = await import(pathToFileURL(resolve(folder, "predictor.js")));
const settings = JSON.parse(await readFile(resolve(folder, "settings.json"), "utf8"));
const fetchFile = async ({ path }) => new Uint8Array(await readFile(resolve(folder, path)));
const files = {};
for (const [name, file] of Object.entries(settings.files)) files[name] = await fetchFile(file);
const predictor = await Predictor.load(settings, files, 1, fetchFile);
for (const film of films) {
  try {
    const { probs } = await predictor.predict(new Uint8Array(await readFile(film)));
    console.log(JSON.stringify({ probs: Array.from(probs) }));
  } catch (error) {
    if (!error.key) throw error;
    console.log(JSON.stringify({ problem: error.key, values: error.values }));
  }
}
