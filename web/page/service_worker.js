// Keeps the page's own files, so that it works offline after the first load, and adds the headers
// that a static host may not send: the two that threads need, and the policy for worker scripts.
//
// All files of a version are kept together when this worker is installed, and given out together.
// The large ones, named by what they hold, are kept when the page has asked for them.

importScripts("files.js"); // self.VERSION, and self.FILES: paths below this folder

const SCOPE = self.registration.scope;
const SMALL = `chexnet ${SCOPE} ${self.VERSION}`;
const LARGE = `chexnet ${SCOPE} large`;
const NAMED_BY_CONTENT = /-[0-9a-f]{12}\.(onnx|wasm)$/;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'",
};
const MARK = '<meta name="generator" content="CheXNet in PaddlePaddle">';

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(install());
});

async function install() {
  const cache = await caches.open(SMALL);
  const small = self.FILES.filter((path) => !NAMED_BY_CONTENT.test(path));
  await Promise.all(
    small.map(async (path) => {
      const response = await fetch(new Request(path, { cache: "reload" }));
      if (response.status !== 200) throw new Error(`${path}: HTTP ${response.status}`);
      await cache.put(path, guarded(response));
    }),
  );
}

self.addEventListener("activate", (event) => {
  event.waitUntil(forgetOthers().then(() => self.clients.claim()));
});

// What earlier exports to the same address have left.
async function forgetOthers() {
  for (const name of await caches.keys()) {
    if (name.startsWith(`chexnet ${SCOPE} `) && ![SMALL, LARGE].includes(name)) {
      await caches.delete(name);
    }
  }
  const large = await caches.open(LARGE);
  for (const { url } of await large.keys()) {
    if (!self.FILES.includes(url.slice(SCOPE.length))) await large.delete(url);
  }
}

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  const path = url.slice(SCOPE.length).replace(/^[?#].*|^$/, "index.html");
  if (method !== "GET" || !url.startsWith(SCOPE) || !self.FILES.includes(path)) return;
  if (path === "index.html") event.respondWith(giveIndex(event.request));
  else if (NAMED_BY_CONTENT.test(path)) event.respondWith(giveLarge(event));
  else event.respondWith(giveSmall(path, event.request));
});

async function giveSmall(path, request) {
  const cache = await caches.open(SMALL);
  return (await cache.match(path)) ?? fetch(request);
}

// Another site may be at this address by now, as on 127.0.0.1: it is not to be hidden.
async function giveIndex(request) {
  try {
    const response = await fetch(request.url, { cache: "no-cache" });
    if (response.ok && !(await response.clone().text()).includes(MARK)) {
      await self.registration.unregister();
      return response;
    }
  } catch {
    // Offline.
  }
  return giveSmall("index.html", request);
}

async function giveLarge(event) {
  const cache = await caches.open(LARGE).catch(() => null); // the browser may forbid it
  const kept = await cache?.match(event.request);
  if (kept && event.request.cache !== "reload") return kept;
  const response = await fetch(event.request);
  if (response.status === 200 && cache) {
    // Not waited for, and a full disk is no failure: the page has its file.
    event.waitUntil(cache.put(event.request, guarded(response.clone())).catch(() => {}));
  }
  return guarded(response);
}

function guarded(response) {
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
