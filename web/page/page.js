// The page: films in, for each a table of findings and a heat map. The network is in worker.js.

import { drawMap, drawPicture, drawScale } from "./drawing.js";
import { isNoneAbove, meaning } from "./meaning.js";
import { measureThreads } from "./threads.js";
import { WORDS } from "./words.js";

const $ = (id) => document.getElementById(id);
const films = []; // {id, name, file, state, result, problem, element, finding}
const early = []; // files that are given before there is a worker
let settings;
let worker;
let startTimer; // from the last byte of the network until it is ready
let network = { key: "starting" }; // what the line about the network says
let language = (navigator.language ?? "en").startsWith("zh") ? "zh" : "en";
let opacity = 0.7;
const LONGEST_START = 10_000; // milliseconds
const giver = navigator.serviceWorker?.controller; // the worker that gave these scripts, if any

start();

async function start() {
  listen();
  showLanguage();
  if ((await keepOffline()) === "reloading") return;
  try {
    const response = await fetch("settings.json");
    if (!response.ok) throw new Error(`settings.json: HTTP ${response.status}`);
    settings = await response.json();
  } catch (error) {
    network = { key: "noNetwork", error: error.message };
    return showNetwork();
  }
  showLanguage();
  loadNetwork();
}

// Have the service worker keep the page's files. Its headers, and the files of a newer export, reach
// the page at the next load: before anything large is loaded, the page loads itself again.
async function keepOffline() {
  if (!navigator.serviceWorker) return "none"; // not on this computer and not over HTTPS
  try {
    const options = { updateViaCache: "none" };
    const registration = await navigator.serviceWorker.register("service_worker.js", options);
    await registration.update().catch(() => {}); // offline
    const newer = registration.installing ?? registration.waiting;
    if (newer) await settled(newer);
    if (giver && registration.active && registration.active !== giver) { // it has other files
      location.reload();
      return "reloading";
    }
    if (window.crossOriginIsolated) {
      sessionStorage.removeItem("reloaded");
    } else if (!sessionStorage.getItem("reloaded") && !early.length) { // it would lose those films
      sessionStorage.setItem("reloaded", "once");
      location.reload();
      return "reloading";
    }
  } catch {
    // A browser that forbids it: the page works, with one thread, as long as the server is there.
  }
  return "tried";
}

// Wait until a service worker is installed and active, or has failed.
function settled(worker) {
  return new Promise((done) => {
    const look = () => {
      if (["activated", "redundant"].includes(worker.state)) done();
    };
    worker.addEventListener("statechange", look);
    look();
  });
}

async function loadNetwork() {
  startWorker(await measureThreads());
  take(early);
}

function startWorker(threads) {
  worker = new Worker("worker.js", { type: "module" });
  worker.addEventListener("message", ({ data }) => hear(data, threads));
  worker.addEventListener("error", ({ message }) => {
    network = { key: "noNetwork", error: message ?? "worker.js" };
    showNetwork();
    for (const film of films) {
      const isOpen = film.state === "waiting" || film.state === "computing";
      if (isOpen) hear({ id: film.id, problem: { key: "noNetworkFor", values: {} } });
    }
  });
  worker.postMessage({ settings, threads });
  for (const { id, file, state } of films) if (state === "waiting") worker.postMessage({ id, file });
}

// With several threads the network's start does not always end in Firefox: then one does.
function startWithOneThread() {
  worker.terminate();
  startWorker(1);
}

function hear(data, threads) {
  const film = films[data.id];
  if (!film) clearTimeout(startTimer);
  if (data.total) {
    network = { key: data.loaded < data.total ? "loading" : "starting", ...data };
    const isStarting = network.key === "starting" && threads > 1;
    if (isStarting) startTimer = setTimeout(startWithOneThread, LONGEST_START);
  } else if (data.ready) {
    network = { key: "ready", threads };
  } else if (data.failed) {
    network = { key: "noNetwork", error: data.failed };
  } else if (data.isComputing) {
    film.state = "computing";
    showSummary(film);
  } else {
    film.state = data.result ? "done" : "failed";
    film.result = data.result;
    film.problem = data.problem;
    if (film.result) film.finding = likeliestFirst(film.result.probs)[0];
    const isFirst = films.filter(({ state }) => state === "done" || state === "failed").length === 1;
    showSummary(film);
    if (isFirst) film.element.open = true;
    else if (film.element.open) showBody(film);
    showCount();
  }
  if (!film) showNetwork();
}

// Texts.

function say(key, values = {}) {
  return WORDS[language][key].replace(/{(\w+)}/g, (_, name) => values[name]);
}

function findingName(c) {
  const name = settings.classes[c];
  return WORDS[language].findings[name] ?? name.replace("_", " ");
}

function showLanguage() {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  for (const button of document.querySelectorAll("[data-language]")) {
    button.setAttribute("aria-pressed", String(button.dataset.language === language));
    button.onclick = () => {
      language = button.dataset.language;
      showLanguage();
    };
  }
  for (const element of document.querySelectorAll("[data-words]")) {
    element.textContent = say(element.dataset.words);
  }
  showNetwork();
  if (!settings) return;
  showCount();
  showFacts();
  for (const film of films) {
    showSummary(film);
    if (film.element.open) showBody(film);
  }
}

function showNetwork() {
  const values = { ...network };
  if (network.key === "loading") {
    [values.loaded, values.total] = [network.loaded, network.total].map((n) => Math.round(n / 1e6));
  } else if (network.key === "ready") {
    const { threads: count } = network;
    values.threads = count > 1 ? say("threads", { count }) : say("oneThread");
  }
  const text = say(network.key, values);
  // Read aloud when it begins and ends, not at every megabyte.
  $("network").setAttribute("aria-live", network.key === "loading" ? "off" : "polite");
  $("network").textContent = text;
  $("network").className = network.key === "noNetwork" ? "problem" : "";
  $("loading").hidden = !["loading", "starting"].includes(network.key);
  if (network.total) $("loading").value = network.loaded / network.total;
  $("drop").hidden = !settings || network.key === "noNetwork";
}

function showCount() {
  const done = films.filter(({ state }) => state === "done" || state === "failed").length;
  const failed = films.filter(({ state }) => state === "failed").length;
  const doubted = films.filter(({ result }) => result?.doubt).length;
  const parts = films.length ? [say("counted", { done, count: films.length })] : [];
  if (failed) parts.push(say("countedFailed", { count: failed }));
  if (doubted) parts.push(say("countedDoubted", { count: doubted }));
  $("state").textContent = parts.join(", ");
  $("save").hidden = !films.some(({ state }) => state === "done");
}

function showFacts() {
  const { evaluation, network: facts } = settings;
  const lines = [say("weights", { name: facts.weights, digest: facts.sha256 })];
  if (evaluation) {
    const [low, high] = evaluation.interval.map((n) => n.toFixed(3));
    const interval = low ? say("interval", { low, high }) : "";
    const mean = evaluation.mean.toFixed(3);
    lines.push(say("measured", { ...evaluation, mean, interval }));
    if (evaluation.source) lines.push(say("theseFilms", evaluation));
  } else {
    lines.push(say("notMeasured"));
  }
  lines.push(say("sizes", { crop: settings.crop_size, side: settings.resize }));
  lines.push(say("made", { packages: "" }));
  const paragraphs = lines.map((text) => make("p", text));
  for (const { name, version, licences } of settings.packages) {
    const links = licences.flatMap((path) => [" ", link(path, path.split("/").at(-1))]);
    paragraphs.at(-1).append(`${name} ${version}`, ...links, "; ");
  }
  $("facts").replaceChildren(make("h2", say("facts")), ...paragraphs);
}

// Films.

function listen() {
  $("files").addEventListener("change", () => {
    take($("files").files);
    $("files").value = ""; // so that the same file can be chosen again
  });
  $("save").addEventListener("click", saveCsv);
  const isFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!isFiles(event)) return;
    event.preventDefault();
    $("drop").classList.add("over");
  });
  addEventListener("dragleave", () => $("drop").classList.remove("over"));
  addEventListener("drop", (event) => {
    $("drop").classList.remove("over");
    if (!isFiles(event)) return;
    event.preventDefault(); // else the browser would leave the page for the film
    if (!$("drop").hidden) take(event.dataTransfer.files);
  });
}

function take(files) {
  if (!worker) {
    early.push(...files);
    return;
  }
  for (const file of files) {
    const element = make("details");
    element.name = "film"; // one is open at a time: pictures take memory
    const film = { id: films.length, name: file.name, file, state: "waiting", element };
    element.append(make("summary"));
    element.addEventListener("toggle", () => (element.open ? showBody(film) : hideBody(film)));
    films.push(film);
    $("films").append(element);
    showSummary(film);
    worker.postMessage({ id: film.id, file });
  }
  showCount();
}

function showSummary(film) {
  const { element, name, state, result } = film;
  element.className = state;
  if (settings.reference) element.classList.add("has-reference");
  let text;
  if (state === "done") {
    const first = likeliestFirst(result.probs)[0];
    text = `${findingName(first)} ${result.probs[first].toFixed(4)}`;
    if (result.doubt) text += ` · ${say("lookFirst")}`;
  } else {
    text = say(state);
  }
  const shown = make("span", ` ${text}`);
  shown.className = "state";
  element.querySelector("summary").replaceChildren(make("strong", name), shown);
}

function hideBody({ element }) {
  element.querySelector(".body")?.remove();
}

function showBody(film) {
  hideBody(film);
  if (film.state !== "done" && film.state !== "failed") return;
  const body = make("div");
  body.className = "body";
  if (film.problem) {
    const { key, values } = film.problem;
    body.append(note(`${film.name}: ${say(key, values)}`, "problem"));
  } else {
    const { result } = film;
    if (result.doubt) {
      const { key, values } = result.doubt;
      body.append(note(`${film.name}: ${say(key, values)}`, "doubt"));
    }
    const left = make("div");
    left.append(findingsTable(film));
    const cautions = cautionsOf(result.probs);
    if (cautions.length) left.append(make("p", say("caution", { list: cautions.join(", ") })));
    if (isNoneAbove(settings, result.probs)) left.append(make("p", say("noneAbove")));
    if (settings.reference) left.append(make("p", say("referenceOf", settings.reference)));
    if (settings.reference?.source) left.append(make("p", say("theseFilms", settings.reference)));
    left.append(make("p", say("seconds", { seconds: result.seconds.toFixed(1) })));
    body.append(left, filmFigure(film));
  }
  film.element.append(body);
  markChosen(film);
}

// Mark the row of the finding whose heat map is shown.
function markChosen({ element, finding }) {
  for (const row of element.querySelectorAll("tbody tr")) {
    row.classList.toggle("chosen", row.dataset.finding === settings.classes[finding]);
  }
}

function likeliestFirst(probs) {
  return Array.from(probs.keys()).sort((a, b) => probs[b] - probs[a]);
}

// The findings whose threshold few films have chosen, and how many.
function cautionsOf(probs) {
  return settings.classes.flatMap((name, c) => {
    const { fewFilms } = meaning(settings, name, probs[c]);
    return fewFilms === null ? [] : [`${findingName(c)} ${fewFilms}`];
  });
}

function findingsTable(film) {
  const { probs } = film.result;
  const columns = ["probability"];
  // The decision first: on a telephone the others are scrolled to.
  if (settings.reference || settings.thresholds) columns.push("decision", "threshold");
  if (settings.reference) columns.push("calibrated", "baseRate", "above");
  const head = make("tr");
  for (const key of ["finding", ...columns]) head.append(cell(say(key), "col"));
  const rows = likeliestFirst(probs).map((c) => {
    const known = meaning(settings, settings.classes[c], probs[c]);
    const decision = known.isPositive ? "positive" : "negative";
    const few = known.fewFilms;
    const parts = known.isPositive === null ? [] : [say(decision)];
    if (few !== null) parts.push("*");
    const texts = {
      probability: probs[c].toFixed(4),
      calibrated: known.calibrated?.toFixed(4) ?? "–",
      baseRate: known.baseRate?.toFixed(4) ?? "–",
      above: known.above === null ? "–" : `${known.above} %`,
      threshold: known.threshold?.toFixed(4) ?? "–",
      decision: parts.join(" "),
    };
    const row = make("tr");
    row.dataset.finding = settings.classes[c];
    row.append(cell(findingName(c), "row"), ...columns.map((key) => cell(texts[key])));
    if (known.isPositive) row.children[1 + columns.indexOf("decision")].className = "positive";
    return row;
  });
  const table = make("table");
  const [top, bottom] = [make("thead"), make("tbody")];
  top.append(head);
  bottom.append(...rows);
  table.append(make("caption", say("likeliestFirst")), top, bottom);
  const scrolling = make("div");
  scrolling.className = "scrolling";
  scrolling.tabIndex = 0; // by keyboard too
  scrolling.setAttribute("role", "region");
  scrolling.setAttribute("aria-label", say("tableOf", film));
  scrolling.append(table);
  return scrolling;
}

// The film with the heat map of a chosen finding over it.
function filmFigure(film) {
  const { result } = film;
  const figure = make("figure");
  const picture = make("div");
  picture.className = "picture";
  picture.append(drawPicture(result.picture));
  if (!result.hasMaps) {
    const key = settings.has_maps ? "noMapCover" : "noMapCoarse";
    figure.append(make("p", say(key, { size: settings.crop_size })), picture);
    return figure;
  }
  const choice = make("select");
  for (const c of likeliestFirst(result.probs)) choice.append(new Option(findingName(c), c));
  choice.value = film.finding;
  const slider = make("input");
  Object.assign(slider, { type: "range", min: 0, max: 1, step: 0.05, value: opacity });
  const controls = make("div");
  controls.className = "controls";
  controls.append(labelled(say("mapOf"), choice), labelled(say("opacity"), slider));
  const caption = make("figcaption");
  const show = () => {
    picture.querySelector(".map")?.remove();
    const map = drawMap(result, film.finding, settings);
    picture.append(map);
    const text = say("caption", { name: film.name, finding: findingName(film.finding) });
    caption.textContent = `${text}. ${say("notice")}`;
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", text);
  };
  choice.addEventListener("change", () => {
    film.finding = Number(choice.value);
    show();
    markChosen(film);
  });
  slider.addEventListener("input", () => {
    opacity = Number(slider.value);
    figure.style.setProperty("--opacity", opacity);
  });
  show();
  figure.style.setProperty("--opacity", opacity);
  const ends = make("div");
  ends.className = "ends";
  ends.append(...WORDS[language].leastMost.map((text) => make("span", text)));
  figure.append(controls, picture, drawScale(settings.colours, result.picture), ends, caption);
  return figure;
}

function saveCsv() {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const lines = [["Image Index", ...settings.classes.map((name) => `prob_${name}`)].join(",")];
  for (const { name, result } of films) {
    if (result) lines.push([quoted(name), ...Array.from(result.probs, shortest)].join(","));
  }
  const file = make("a");
  file.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  file.download = "predictions.csv";
  file.click();
  setTimeout(() => URL.revokeObjectURL(file.href), 1000);
}

// The shortest text that is this float32 again.
function shortest(value) {
  for (let digits = 1; ; digits++) {
    const text = String(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
}

// Elements.

function make(name, text = "") {
  const element = document.createElement(name);
  element.textContent = text;
  return element;
}

function cell(text, scope) {
  const element = make(scope ? "th" : "td", text);
  if (scope) element.scope = scope;
  return element;
}

function note(text, kind) {
  const element = make("p", text);
  element.className = `wide ${kind}`;
  return element;
}

function labelled(text, control) {
  const element = make("label", text);
  element.append(control);
  return element;
}

function link(address, text) {
  const element = make("a", text);
  Object.assign(element, { href: address, target: "_blank", rel: "noopener" });
  return element;
}
