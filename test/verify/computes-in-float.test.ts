import { expect, test } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { computesInFloat } from '../../src/verify/computes-in-float.ts';
import { block, choose, hidden, logits, maskedExperts, width } from '../moe/helpers/parts.ts';

/** An expert whose weights are brought to one type and whose products are made in another; float32 outside. */
function expertIn(stored: DataType, type: DataType) {
  return (b: Builder, tokens: Value, e: number): Value => {
    const matrix = (name: string, shape: [number, number]): Value => {
      const values = Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.sin(i + e));
      const held = b.constant(name, stored, shape, values);
      return stored === type ? held : b.cast(held, type);
    };
    const up = b.op('MatMul', [b.cast(tokens, type), matrix(`${e}.up`, [hidden, width])]);
    return b.cast(b.op('MatMul', [b.op('Relu', [up]), matrix(`${e}.down`, [width, hidden])]), 'float32');
  };
}

test.each<[DataType, DataType, boolean]>([
  ['float32', 'float32', true],
  ['float16', 'float32', true],
  ['float32', 'float16', false],
  ['float16', 'float16', false],
])('weights of %s, multiplied in %s: %s', (stored, type, expected) => {
  const model = block((b, x) => maskedExperts(b, x, choose(b, logits(b, x)), expertIn(stored, type)));
  const [layer] = locate(model).layers;
  expect(layer.boundary).not.toBeNull();
  expect(computesInFloat(layer)).toBe(expected);
});
