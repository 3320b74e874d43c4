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

/** Packs codes by eights, many times faster than by twos, as far as they are aligned and full; returns the bytes done. */
function packWords({ buffer, byteOffset, length }: Int8Array, bytes: Uint8Array<ArrayBuffer>): number {
  if (byteOffset % 4 !== 0) return 0;
  const packed = new Int32Array(bytes.buffer, 0, length >> 3);
  const words = new Int32Array(buffer, byteOffset, packed.length * 2);
  for (let i = 0; i < packed.length; i++) {
    const low = words[2 * i] & 0x0f0f0f0f;
    const high = words[2 * i + 1] & 0x0f0f0f0f;
    // Each holds a pair of codes in its first and its third byte then.
    const first = low | (low >>> 4);
    const second = high | (high >>> 4);
    const lower = (first & 0xff) | ((first >>> 8) & 0xff00);
    packed[i] = lower | ((second & 0xff) << 16) | ((second << 8) & 0xff000000);
  }
  return packed.length * 4;
}

/** 2-bit codes, four to a byte. Only the low two bits of each element count. */
export function packCrumbs(codes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(codes.length / 4));
  for (let i = 0; i < codes.length; i++) bytes[i >> 2] |= (codes[i] & 3) << ((i & 3) * 2);
  return bytes;
}

/** Base-3 digits (0, 1, 2), five to a byte: 1.6 bits each, as 3^5 = 243. */
export function packTrits(digits: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(Math.ceil(digits.length / tritsPerByte));
  for (let i = 0; i < digits.length; i++)
    bytes[Math.floor(i / tritsPerByte)] += digits[i] * 3 ** (i % tritsPerByte);
  return bytes;
}
