import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { packTrits } from '../tensor/pack.ts';
import type { Blocks } from './nbits-form.ts';
import { blobShape } from './nbits-form.ts';

/**
 * The 2-bit blob of MatMulNBits, made in the graph from ternary codes stored five to a byte (1.6 bits a weight).
 * ONNX Runtime folds these nodes when it loads the model; only the file stays small.
 */
export function packedTrits(b: Builder, name: string, blocks: Blocks): Value {
  const { codes } = blocks;
  // Codes are 1, 2, 3 around the zero point 2.
  const packed = packTrits(codes.map((code) => code - 1));
  const bytes = b.constant(`${name}/packed`, 'uint8', [packed.length, 1], packed);
  const powers = b.constant(`${name}/powers`, 'uint8', [1, 5], [1, 3, 9, 27, 81]);
  const three = b.constant(`${name}/three`, 'uint8', [], [3]);
  const digits = b.op('Mod', [b.op('Div', [bytes, powers]), three], {}, { name: `${name}/digits` });
  const flat = b.op('Reshape', [digits, b.ints([-1])]);
  const exact = b.op('Slice', [flat, b.ints([0]), b.ints([codes.length])]);
  const quads = b.op('Cast', [b.op('Reshape', [exact, b.ints([-1, 4])])], { to: 1 });
  // Four 2-bit codes to a byte; 85 adds one to each.
  const places = b.constant(`${name}/places`, 'float32', [4, 1], [1, 4, 16, 64]);
  const base = b.constant(`${name}/base`, 'float32', [1], [85]);
  const sums = b.op('Gemm', [quads, places, base], {}, { name: `${name}/bytes` });
  const shape = b.ints(blobShape(blocks));
  return b.op('Reshape', [b.op('Cast', [sums], { to: 2 }), shape], {}, { name: `${name}/blob` });
}
