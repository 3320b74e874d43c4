import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { packCrumbs, packNibbles } from '../tensor/pack.ts';

/** ONNX integer types that hold signed weight codes. */
export type CodeType = 'int2' | 'int4' | 'int8';

/** The smallest type that holds a weight's codes. */
export function storageOf({ bits }: Pick<QuantizedTensor, 'bits'>): CodeType {
  if (bits === 2) return 'int2';
  return bits === 8 ? 'int8' : 'int4';
}

/** Codes in ONNX raw form: below a byte packed, the first in the low bits. */
export function packCodes(codes: Int8Array, dtype: CodeType): Uint8Array {
  if (dtype === 'int8') return new Uint8Array(codes.buffer, codes.byteOffset, codes.length);
  return dtype === 'int2' ? packCrumbs(codes) : packNibbles(codes);
}
