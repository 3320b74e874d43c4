/*
 * Several small codes in one byte, the first in the lowest place: the order ONNX gives int4 and int2, and the one used
 * here for ternary digits. The last byte is filled up with zeros.
 */

const tritsPerByte = 5;

/** 4-bit codes, two to a byte. Only the low four bits of each element count, so that signed codes may be passed. */
export function packNibbles(codes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(codes.length / 2));
  const done = codes instanceof Int8Array ? packWords(codes, bytes) : 0;
  for (let i = done; i < bytes.length; i++) bytes[i] = (codes[2 * i] & 15) | (codes[2 * i + 1] << 4);
  return bytes;
}

/** Packs codes by fours, three times as fast as by twos, as far as they are aligned and full; returns the bytes done. */
function packWords({ buffer, byteOffset, length }: Int8Array, bytes: Uint8Array<ArrayBuffer>): number {
  if (byteOffset % 4 !== 0) return 0;
  const words = new Int32Array(buffer, byteOffset, length >> 2);
  const packed = new Uint16Array(bytes.buffer, 0, words.length);
  for (let i = 0; i < words.length; i++) {
    const apart = words[i] & 0x0f0f0f0f;
    const pairs = apart | (apart >>> 4);
    packed[i] = (pairs & 0xff) | ((pairs >>> 8) & 0xff00);
  }
  return words.length * 2;
}

/** The first `count` 4-bit codes, 0 to 15. */
export function unpackNibbles(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  return unpackBits(bytes, count, 4);
}

/** 2-bit codes, four to a byte. Only the low two bits of each element count. */
export function packCrumbs(codes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(codes.length / 4));
  for (let i = 0; i < codes.length; i++) bytes[i >> 2] |= (codes[i] & 3) << ((i & 3) * 2);
  return bytes;
}

/** The first `count` 2-bit codes, 0 to 3. */
export function unpackCrumbs(bytes: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  return unpackBits(bytes, count, 2);
}

/** Base-3 digits (0, 1, 2), five to a byte: 1.6 bits each, as 3^5 = 243. */
export function packTrits(digits: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(digits.length / tritsPerByte));
  for (let i = 0; i < digits.length; i++)
    bytes[Math.floor(i / tritsPerByte)] += digits[i] * 3 ** (i % tritsPerByte);
  return bytes;
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
