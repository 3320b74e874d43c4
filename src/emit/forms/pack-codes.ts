import { storedBits } from '../../quantize/grid.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { bytesOf } from '../../tensor/encode.ts';
import { packCrumbs, packNibbles } from '../../tensor/pack.ts';

/** ONNX integer types that hold signed weight codes. */
export type CodeType = 'int2' | 'int4' | 'int8';

/** The smallest type that holds a weight's codes. */
export function storageOf({ bits }: Pick<QuantizedTensor, 'bits'>): CodeType {
  return `int${storedBits(bits)}`;
}

/** Codes in ONNX raw form: below a byte packed, the first in the low bits. */
export function packCodes(codes: Int8Array, dtype: CodeType): Uint8Array {
  if (dtype === 'int8') return bytesOf(codes);
  return dtype === 'int2' ? packCrumbs(codes) : packNibbles(codes);
}

/**
 * Codes as operators with unsigned ones want them, for which 2^(bits-1) stands for zero: two's complement with the highest
 * bit of each turned over.
 */
export function packUnsigned(codes: Int8Array, bits: 2 | 4 | 8): Uint8Array {
  const packed = packCodes(codes, storageOf({ bits }));
  // Bytes that are the codes themselves are not ours to change.
  const bytes = bits === 8 ? packed.slice() : packed;
  const mask = highestBits[bits];
  for (let i = 0; i < bytes.length; i++) bytes[i] ^= mask;
  return bytes;
}

/** Of every code in a byte. */
const highestBits = { 2: 0xaa, 4: 0x88, 8: 0x80 };
