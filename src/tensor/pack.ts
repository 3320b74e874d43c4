/** Packs 4-bit codes two to a byte, the first in the low nibble: ONNX's layout of INT4 and UINT4. */
export function packNibbles(codes: ArrayLike<number>): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(Math.ceil(codes.length / 2));
  for (let i = 0; i < codes.length; i++) packed[i >> 1] |= (codes[i] & 15) << ((i & 1) * 4);
  return packed;
}
