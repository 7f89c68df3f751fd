// The parts of which PNG and JPEG files are made.

function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Yield {type, start, length} of a PNG file's chunks; type is a text such as "IDAT". */
export function* pngChunks(bytes) {
  const view = viewOf(bytes);
  for (let at = 8; at + 8 <= bytes.length; at += 12 + view.getUint32(at)) {
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    yield { type, start: at + 8, length: view.getUint32(at) };
  }
}

/**
 * Yield {marker, at, start, end} of a JPEG or JPEG-LS stream's segments, up to and with the header
 * of its first scan: the place of the marker, and of what follows the segment's length.
 *
 * Throws a RangeError where the stream ends before.
 */
export function* jpegSegments(bytes) {
  const view = viewOf(bytes);
  let marker;
  for (let at = 2, end; marker !== 0xda; at = end) {
    while (view.getUint8(at + 1) === 0xff) at++; // fill bytes
    marker = view.getUint8(at + 1);
    end = at + 2 + view.getUint16(at + 2);
    yield { marker, at, start: at + 4, end };
  }
}
