/**
 * Packs codes of 2, 4 or 8 bits into bytes, the first in the lowest bits: ONNX's layout of INT4, UINT4, INT2 and UINT2,
 * and that of `com.microsoft` block quantization.
 */
export function packBits(codes: ArrayLike<number>, bits: 2 | 4 | 8): Uint8Array<ArrayBuffer> {
  const perByte = 8 / bits;
  const mask = 2 ** bits - 1;
  const packed = new Uint8Array(Math.ceil(codes.length / perByte));
  for (let i = 0; i < codes.length; i++)
    packed[Math.floor(i / perByte)] |= (codes[i] & mask) << ((i % perByte) * bits);
  return packed;
}
