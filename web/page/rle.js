// DICOM's run-length coding (PS3.5, annex G): a segment for each byte of a sample.

/**
 * Decode a picture.
 *
 * @param stream Uint8Array.
 * @param pixels how many there are.
 * @param samples of a pixel.
 * @param bytesEach of a sample: 1 or 2.
 * @returns Uint8Array or Uint16Array [pixels * samples].
 *
 * Throws a RangeError where the stream is of another form, or ends before.
 */
export function decodeRle(stream, pixels, samples, bytesEach) {
  const view = new DataView(stream.buffer, stream.byteOffset, stream.byteLength);
  const count = view.getUint32(0, true);
  if (count !== samples * bytesEach) throw new RangeError("another number of segments");
  const starts = Array.from({ length: count }, (_, n) => view.getUint32(4 + 4 * n, true));
  const found = new (bytesEach === 2 ? Uint16Array : Uint8Array)(pixels * samples);
  starts.forEach((start, n) => {
    const part = decodeSegment(stream.subarray(start, starts[n + 1]), pixels);
    const sample = Math.floor(n / bytesEach);
    const shift = 8 * (bytesEach - 1 - (n % bytesEach)); // the highest byte comes first
    for (let at = 0; at < pixels; at++) found[at * samples + sample] |= part[at] << shift;
  });
  return found;
}

function decodeSegment(stream, size) {
  const found = new Uint8Array(size);
  let to = 0;
  for (let at = 0; to < size; ) {
    if (at >= stream.length) throw new RangeError("truncated");
    const head = stream[at++];
    if (head < 128) {
      const part = stream.subarray(at, at + Math.min(head + 1, size - to));
      found.set(part, to);
      to += part.length;
      at += head + 1;
    } else if (head > 128) {
      found.fill(stream[at++], to, to + 257 - head);
      to += 257 - head;
    }
  }
  return found;
}
