const tritsPerByte = 5;

/** The first `count` 4-bit codes, 0 to 15. */
export function unpackNibbles(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  return unpackBits(bytes, count, 4);
}

/** The first `count` 2-bit codes, 0 to 3. */
export function unpackCrumbs(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  return unpackBits(bytes, count, 2);
}

/** The first `count` base-3 digits. */
export function unpackTrits(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  const digits = new Uint8Array(count);
  for (let i = 0; i < count; i++) {
    digits[i] = Math.floor(bytes[Math.floor(i / tritsPerByte)] / 3 ** (i % tritsPerByte)) % 3;
  }
  return digits;
}

function unpackBits(bytes: Uint8Array, count: number, bits: 2 | 4): Uint8Array<ArrayBuffer> {
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const codes = new Uint8Array(count);
  for (let i = 0; i < count; i++) codes[i] = (bytes[(i / perByte) | 0] >> ((i % perByte) * bits)) & mask;
  return codes;
}
