// Counts for so many milliseconds, as far as it gets; for threads.js.

self.onmessage = ({ data: milliseconds }) => {
  const end = performance.now() + milliseconds;
  let counted = 0;
  for (let value = 1; performance.now() < end; counted++) {
    for (let n = 0; n < 1000; n++) value = Math.imul(value, 1664525) + 1013904223;
    if (value === 0.5) counted = 0; // never: so that the loop above is not left out
  }
  self.postMessage(counted);
};
