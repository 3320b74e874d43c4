import { describe, expect, it } from 'vitest';
import { elementTypeOf } from '../../src/moe/element-type.ts';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import { Value } from '../../src/onnx/value.ts';
import { declared } from '../helpers/make-model.ts';

const graph = new Graph('types');
const b = builder(graph, '');
const half = declared('x', 'float16', [4, 8]);
const [float, condition] = [declared('y', 'float32', [4, 8]), declared('c', 'bool', [4, 8])];

describe('elementTypeOf', () => {
  it.each([
    ['what is declared', half, 'float16'],
    [
      'the operand of a chain without declarations',
      b.op('Add', [b.op('Reshape', [half, b.ints([-1, 8])]), half]),
      'float16',
    ],
    ['what a Cast makes', b.op('Relu', [b.op('Cast', [half], { to: 1 })]), 'float32'],
    ['the values of a Where, not its condition', b.op('Where', [condition, float, float]), 'float32'],
    ['nothing where the way back ends', b.op('Add', [new Value('unknown'), half]), undefined],
  ])('is %s', (_what, value, expected) => {
    expect(elementTypeOf(value)).toBe(expected);
  });
});
