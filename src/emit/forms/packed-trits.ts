import type { Builder } from '../../onnx/build.ts';
import { builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import { packTrits } from '../../tensor/pack.ts';
import type { Blocks } from './nbits-form.ts';
import { blobShape } from './nbits-form.ts';

/** Writes ternary codes five to a byte (1.6 bits a weight) and returns the 2-bit blob of MatMulNBits. */
export type TritPacker = (b: Builder, name: string, blocks: Blocks) => Value;

/**
 * The blob is made in the graph; ONNX Runtime folds its nodes when it loads the model, and only the file stays small.
 * The constants of this arithmetic are written once for all weights of a packer.
 */
export function tritPacker(): TritPacker {
  const known = new Map<string, Value>();
  const shared = (
    b: Builder,
    name: string,
    dtype: 'uint8' | 'float32' | 'int64',
    shape: readonly number[],
    values: readonly number[],
  ): Value => {
    const key = `${name} ${values.join()}`;
    const value = known.get(key) ?? builder(b.graph, 'moeq/trits').constant(name, dtype, shape, values);
    known.set(key, value);
    return value;
  };
  const shape = (b: Builder, ...sizes: number[]): Value => shared(b, 'shape', 'int64', [sizes.length], sizes);
  return (b, name, blocks) => {
    const { codes } = blocks;
    const packed = packTrits(codes.map((code) => code + 1));
    const bytes = b.constant(`${name}/packed`, 'uint8', [packed.length, 1], packed);
    const powers = shared(b, 'powers', 'uint8', [1, 5], [1, 3, 9, 27, 81]);
    const three = shared(b, 'three', 'uint8', [], [3]);
    const digits = b.op('Mod', [b.op('Div', [bytes, powers]), three], {}, { name: `${name}/digits` });
    const flat = b.op('Reshape', [digits, shape(b, -1)]);
    const exact = b.op('Slice', [flat, shape(b, 0), shape(b, codes.length)]);
    const quads = b.cast(b.op('Reshape', [exact, shape(b, -1, 4)]), 'float32');
    // Four 2-bit codes to a byte; 85 adds one to each.
    const places = shared(b, 'places', 'float32', [4, 1], [1, 4, 16, 64]);
    const base = shared(b, 'base', 'float32', [1], [85]);
    const sums = b.op('Gemm', [quads, places, base], {}, { name: `${name}/bytes` });
    const cast = b.cast(sums, 'uint8');
    return b.op('Reshape', [cast, shape(b, ...blobShape(blocks))], {}, { name: `${name}/blob` });
  };
}
