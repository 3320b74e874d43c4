import { describe, expect, it } from 'vitest';
import type { Cut } from '../../src/moe/graph/cuts.ts';
import { cutsOf, onlyCut } from '../../src/moe/graph/cuts.ts';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';

type Make = (build: Builder, x: Value) => Value;

/** How a value is cut out of x, [4, 8, n]. */
function cuts(make: Make): { all: Cut[] | null; only: Cut | null } {
  const build = builder();
  const value = make(build, build.input('x', [4, 8, 'n']));
  const shapes = inferShapes(build.graph, build.graph.sortedNodes());
  return { all: cutsOf(value, [4, 8, null], shapes), only: onlyCut(value, shapes) };
}

const unknown = { start: null, length: null, step: null };

describe('onlyCut', () => {
  it.each<[string, Make, Cut]>([
    [
      'bounds from the end',
      ({ add, ints }, x) => add('Slice', [x, ints(-6), ints(-1), ints(1)]),
      { axis: 1, size: 8, start: 2, length: 5, step: 1 },
    ],
    [
      'bounds beyond the axis and a step',
      ({ add, ints }, x) => add('Slice', [x, ints(1), ints(99), ints(-2), ints(2)]),
      { axis: 1, size: 8, start: 1, length: 4, step: 2 },
    ],
    [
      'no axes given',
      ({ add, ints }, x) => add('Slice', [x, ints(1), ints(3)]),
      { axis: 0, size: 4, start: 1, length: 2, step: 1 },
    ],
    [
      'attributes for bounds',
      ({ add }, x) => add('Slice', [x], { starts: [2], ends: [4], axes: [1] }),
      { axis: 1, size: 8, start: 2, length: 2, step: 1 },
    ],
    [
      'plain bounds on an axis of unknown size',
      ({ add, ints }, x) => add('Slice', [x, ints(2), ints(5), ints(2)]),
      { axis: 2, size: null, start: 2, length: 3, step: 1 },
    ],
    [
      'a bound from the end of an axis of unknown size',
      ({ add, ints }, x) => add('Slice', [x, ints(2), ints(-1), ints(2)]),
      { axis: 2, size: null, ...unknown },
    ],
    [
      'a step back',
      ({ add, ints }, x) => add('Slice', [x, ints(7), ints(0), ints(1), ints(-1)]),
      { axis: 1, size: 8, ...unknown },
    ],
    [
      'a Split into given sizes',
      ({ many, ints }, x) => many('Split', 3, [x, ints(1, 5, 2)], { axis: 1 })[2],
      { axis: 1, size: 8, start: 6, length: 2, step: 1 },
    ],
    [
      'sizes as an attribute',
      ({ many }, x) => many('Split', 2, [x], { axis: -2, split: [3, 5] })[1],
      { axis: 1, size: 8, start: 3, length: 5, step: 1 },
    ],
    [
      'a Split into equal parts',
      ({ many }, x) => many('Split', 2, [x])[1],
      { axis: 0, size: 4, start: 2, length: 2, step: 1 },
    ],
    [
      'a part of an axis of unknown size',
      ({ many }, x) => many('Split', 2, [x], { axis: 2, num_outputs: 2 })[1],
      { axis: 2, size: null, start: null, length: null, step: 1 },
    ],
    [
      'the last part of a Split that does not come out even',
      ({ many }, x) => many('Split', 3, [x], { axis: 1, num_outputs: 3 })[2],
      { axis: 1, size: 8, start: 6, length: 2, step: 1 },
    ],
  ])('%s', (_, make, expected) => {
    expect(cuts(make).only).toEqual(expected);
  });

  it.each<[string, Make]>([
    ['several axes are cut', ({ add, ints }, x) => add('Slice', [x, ints(1, 0), ints(3, 4), ints(0, 1)])],
    [
      'the axes are not known',
      ({ add, ints, input }, x) => add('Slice', [x, ints(0), ints(1), input('axes', [1])]),
    ],
    ['nothing is cut', ({ add }, x) => add('Relu', [x])],
  ])('is null where %s', (_, make) => {
    expect(cuts(make).only).toBeNull();
  });
});

it('several axes have a cut each, none where they are not known', () => {
  expect(cuts(({ add, ints }, x) => add('Slice', [x, ints(1, 0), ints(3, 4), ints(0, 1)])).all).toEqual([
    { axis: 0, size: 4, start: 1, length: 2, step: 1 },
    { axis: 1, size: 8, start: 0, length: 4, step: 1 },
  ]);
  const computed = cuts(({ add, ints, input }, x) => add('Slice', [x, ints(0), ints(1), input('axes', [1])]));
  expect(computed.all).toBeNull();
});
