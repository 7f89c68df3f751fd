// Keeps the page's own files, so that it works offline after the first load, and adds the headers
// that a static host may not send: the two that threads need, and the policy for worker scripts.

const CACHE = `chexnet ${self.registration.scope}`;
const NAMED_BY_CONTENT = /-[0-9a-f]{12}\.(onnx|wasm)$/;
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' data:; style-src 'self'; base-uri 'none'; form-action 'none'",
};

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const isOurs = event.request.url.startsWith(self.registration.scope);
  if (isOurs && event.request.method === "GET") event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept && NAMED_BY_CONTENT.test(request.url)) return kept;
  let response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (kept) return kept; // offline
    throw error;
  }
  if (response.status !== 200) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  const guarded = new Response(response.body, { status: 200, headers });
  await cache.put(request, guarded.clone());
  if (request.url.endsWith("/settings.json")) await forgetOthers(cache, guarded.clone());
  return guarded;
}

// The large files of an earlier export to the same address.
async function forgetOthers(cache, settings) {
  const paths = Object.values((await settings.json()).files).map(({ path }) => path);
  for (const { url } of await cache.keys()) {
    const isOurs = paths.some((path) => url.endsWith(`/${path}`));
    if (NAMED_BY_CONTENT.test(url) && !isOurs) await cache.delete(url);
  }
}
