import { describe, expect, it } from 'vitest';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';

function shapeOf(make: (build: Builder, x: Value) => Value): (number | null)[] | null {
  const build = builder();
  const value = make(build, build.input('x', ['batch', 'sequence', 32]));
  return inferShapes(build.graph, build.graph.sortedNodes()).shapeOf(value);
}

describe('inferShapes', () => {
  it.each<[string, (build: Builder, x: Value) => Value, (number | null)[]]>([
    ['MatMul', ({ add, weight }, x) => add('MatMul', [x, weight('w', [32, 8])]), [null, null, 8]],
    ['stacked MatMul', ({ add, weight }, x) => add('MatMul', [x, weight('w', [4, 32, 8])]), [4, null, 8]],
    ['Reshape', ({ add, ints }, x) => add('Reshape', [x, ints(-1, 32)]), [null, 32]],
    ['Reshape to a computed shape', computedReshape, [null, 32]],
    ['Slice by a computed half', computedHalf, [null, null, 16]],
    [
      'Slice with a step',
      ({ add, ints }, x) => add('Slice', [x, ints(1), ints(99), ints(2), ints(2)]),
      [null, null, 16],
    ],
    ['Split', ({ many }, x) => many('Split', 2, [x], { axis: -1, num_outputs: 2 })[1], [null, null, 16]],
    [
      'last part of an uneven Split',
      ({ many }, x) => many('Split', 3, [x], { axis: -1, num_outputs: 3 })[2],
      [null, null, 10],
    ],
    ['TopK', ({ many, ints }, x) => many('TopK', 2, [x, ints(3)])[1], [null, null, 3]],
    ['ReduceSum', ({ add, ints }, x) => add('ReduceSum', [x, ints(-1)], { keepdims: 0 }), [null, null]],
    ['Unsqueeze', ({ add, ints }, x) => add('Unsqueeze', [x, ints(0, -1)]), [1, null, null, 32, 1]],
    [
      'Einsum',
      ({ add, weight }, x) => add('Einsum', [x, weight('w', [4, 32, 8])], { equation: 'bsd,edf->besf' }),
      [null, 4, null, 8],
    ],
    ['Add', ({ add, weight }, x) => add('Add', [x, weight('w', [5, 1, 1, 1])]), [5, null, null, 32]],
  ])('%s', (_, make, expected) => {
    expect(shapeOf(make)).toEqual(expected);
  });

  it('gives no shape to a product whose dimensions do not fit', () => {
    expect(shapeOf(({ add, weight }, x) => add('MatMul', [x, weight('w', [31, 8])]))).toBeNull();
  });
});

/** As TorchScript writes `x.reshape(-1, x.shape[2])`. */
function computedReshape({ add, ints, index }: Builder, x: Value): Value {
  const width = add('Gather', [add('Shape', [x]), index(2)], { axis: 0 });
  return add('Reshape', [x, add('Concat', [ints(-1), add('Unsqueeze', [width, ints(0)])], { axis: 0 })]);
}

/** As TorchScript writes the first part of `x.chunk(2, -1)`. */
function computedHalf({ add, ints, index }: Builder, x: Value): Value {
  const width = add('Gather', [add('Shape', [x]), ints(2)], { axis: 0 });
  const half = add('Div', [add('Add', [width, index(1)]), index(2)]);
  return add('Slice', [x, ints(0), half, ints(2)]);
}
