// How many threads the network gets. Browsers claim logical processors, and WebKitGTK 4 on 2 cores,
// with which it is slow. So it is measured how many workers count at full speed at once.

const MOST = 4; // what ONNX Runtime takes at most by itself
const MILLISECONDS = 40; // of a count

/** Return how many threads are worth it, 1 to 4; it takes a tenth of a second. */
export async function measureThreads() {
  const claimed = Math.min(navigator.hardwareConcurrency ?? 1, MOST);
  if (!window.crossOriginIsolated || claimed === 1) return 1;
  const workers = Array.from({ length: claimed }, () => new Worker("counter.js"));
  try {
    await Promise.all(workers.map(count)); // until all have begun
    const alone = await count(workers[0]);
    return threadsFor(alone, await Promise.all(workers.map(count)));
  } catch {
    return 1;
  } finally {
    for (const worker of workers) worker.terminate();
  }
}

/**
 * Return how many threads are worth it.
 *
 * @param alone how far one worker counts, while no other does.
 * @param together how far each of several counts, all at once.
 */
export function threadsFor(alone, together) {
  const sum = together.reduce((a, b) => a + b);
  // Two threads of one core count 1.3 times as far as one, which helps no convolution.
  return Math.min(Math.max(Math.floor(sum / alone + 0.3), 1), together.length);
}

function count(worker) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage(MILLISECONDS);
  });
}
