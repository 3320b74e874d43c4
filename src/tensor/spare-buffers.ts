/*
 * Large buffers that are used again, those of a thread. Memory that comes fresh from the operating system takes three
 * times as long to read a file into as memory that was in use.
 */

const spare: ArrayBuffer[] = [];
/** What is kept at most, and the least that is worth keeping. */
const [most, least] = [2 ** 28, 2 ** 16];

/** A buffer of so many bytes, with anything in it. */
export function takeBuffer(byteLength: number): ArrayBuffer {
  const at = spare.findIndex((buffer) => buffer.byteLength === byteLength);
  return at < 0 ? new ArrayBuffer(byteLength) : spare.splice(at, 1)[0];
}

/** Lets the memory of an array be used again. Whoever gives it must be the only one that has it. */
export function giveBuffer({ buffer }: ArrayBufferView): void {
  if (!(buffer instanceof ArrayBuffer) || buffer.byteLength < least) return;
  const kept = spare.reduce((sum, { byteLength }) => sum + byteLength, 0);
  if (kept + buffer.byteLength <= most) spare.push(buffer);
}
