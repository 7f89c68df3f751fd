// How many threads the network gets. Browsers claim logical processors, and WebKitGTK 4 on 2 cores,
// with which it is slow. So it is measured how many workers count at full speed at once.

const MOST = 4; // what ONNX Runtime takes at most by itself
const MILLISECONDS = 25; // of a count

/** Return how many threads are worth it, 1 to 4; it takes a tenth of a second. */
export async function measureThreads() {
  const claimed = Math.min(navigator.hardwareConcurrency ?? 1, MOST);
  if (!window.crossOriginIsolated || claimed === 1) return 1;
  const workers = Array.from({ length: claimed }, () => new Worker("counter.js"));
  try {
    await Promise.all(workers.map(count)); // until all have begun
    const [alone, together] = [[], []];
    for (let time = 0; time < 2; time++) {
      alone.push(await count(workers[0]));
      together.push(sum(await Promise.all(workers.map(count))));
    }
    // The better of two: whatever else runs only disturbs.
    return threadsFor(Math.max(...alone), Math.max(...together), claimed);
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
 * @param together how far all count, all at once: the sum.
 * @param claimed how many they are.
 */
export function threadsFor(alone, together, claimed) {
  // Two threads of one core count 1.3 times as far as one, which helps no convolution.
  return Math.min(Math.max(Math.floor(together / alone + 0.3), 1), claimed);
}

function sum(numbers) {
  return numbers.reduce((a, b) => a + b);
}

function count(worker) {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage(MILLISECONDS);
  });
}
