// The page's own scripts on films, in Node. A line of JSON for each film:
//
//   node web_page.mjs FOLDER pixels SIDE FILM ...   {"width", "height", "sha256"} of its grey
//       values and its "doubt" (key of words.js or null), its short side resized to SIDE pixels unless that is 0, or {"problem": key of words.js}
//   node web_page.mjs FOLDER map C FILM ...         [height][width]: the heat map of class C

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { resolve as pathOf } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, command, value, ...films] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(pathOf(folder, name)));
const { readFilm } = await load("film.js");
const { joinMaps } = await load("network.js");
const { Predictor } = await load("predictor.js");
const { doubt } = await load("meaning.js");
const { resize, resizeShort } = await load("resample.js");
const settings = JSON.parse(await readFile(pathOf(folder, "settings.json"), "utf8"));
const fetchFile = ({ path }) => readFile(pathOf(folder, path));
const files = {};
for (const [name, file] of Object.entries(settings.files)) files[name] = await fetchFile(file);
const predictor = await Predictor.load(settings, files, 1, fetchFile);

async function pixels(bytes, side) {
  try {
    const read = await readFilm(bytes, settings.window);
    const { width, height, grey } = side ? resizeShort(read, side) : read;
    const check = settings.film_check;
    const small = resize({ width, height, grey }, check.side, check.side, "box");
    const found = doubt(small.grey, read, check);
    const sha256 = createHash("sha256").update(grey).digest("hex");
    return { width, height, sha256, doubt: found && found.key };
  } catch (error) {
    if (!error.key) throw error;
    return { problem: error.key };
  }
}

async function map(bytes, c) {
  const found = await predictor.predict(bytes);
  const { width, height } = found.film;
  const joined = joinMaps(found, c, settings.classes.length, found.film, settings.crop_size);
  const rows = Array.from({ length: height }, (_, y) => joined.subarray(y * width, (y + 1) * width));
  return rows.map((row) => Array.from(row));
}

for (const film of films) {
  const bytes = new Uint8Array(await readFile(film));
  const found = await { pixels, map }[command](bytes, Number(value));
  console.log(JSON.stringify(found));
}
