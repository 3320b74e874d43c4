import { array, assert, nat, property, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inferShapes } from '../../src/moe/graph/shapes.ts';
import { matrixOf, storedView } from '../../src/moe/graph/stored-view.ts';
import type { Value } from '../../src/onnx/value.ts';
import { readFloats, readMatrix } from '../../src/tensor/view.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';

/** A tensor as nested order: shape, and for every element its place in the stored tensor. */
interface Places {
  shape: number[];
  at: (index: number[]) => number;
}

interface Move {
  name: string;
  apply: (
    build: Builder,
    value: Value,
    places: Places,
    seed: number,
  ) => { value: Value; places: Places } | null;
}

const moves: Move[] = [
  {
    name: 'Transpose',
    apply: (build, value, { shape, at }) => {
      const perm = shape.map((_, axis) => axis).toReversed();
      const places = {
        shape: perm.map((axis) => shape[axis]),
        at: (index: number[]) => at(index.toReversed()),
      };
      return { value: build.add('Transpose', [value], { perm }), places };
    },
  },
  {
    name: 'Gather',
    apply: (build, value, { shape, at }, seed) => {
      if (shape.length < 3) return null;
      const pick = seed % shape[0];
      const places = { shape: shape.slice(1), at: (index: number[]) => at([pick, ...index]) };
      return { value: build.add('Gather', [value, build.index(pick)], { axis: 0 }), places };
    },
  },
  {
    name: 'Slice',
    apply: (build, value, { shape, at }, seed) => {
      const axis = shape.length - 1;
      const start = seed % 2;
      // Nothing is left to be shaped anew.
      if (shape[axis] <= start) return null;
      const bounds = [build.ints(start), build.ints(shape[axis]), build.ints(axis), build.ints(2)];
      const cut = shape.with(axis, Math.ceil((shape[axis] - start) / 2));
      const places = { shape: cut, at: (index: number[]) => at(index.with(axis, start + 2 * index[axis])) };
      return { value: build.add('Slice', [value, ...bounds]), places };
    },
  },
  {
    name: 'Split',
    apply: (build, value, { shape, at }, seed) => {
      if (shape[0] < 2) return null;
      const part = seed % 2;
      const half = Math.ceil(shape[0] / 2);
      const places = {
        shape: shape.with(0, part === 0 ? half : shape[0] - half),
        at: (index: number[]) => at(index.with(0, index[0] + part * half)),
      };
      return { value: build.many('Split', 2, [value], { axis: 0, num_outputs: 2 })[part], places };
    },
  },
  {
    name: 'Reshape',
    apply: (build, value, { shape, at }) => {
      const [first, ...rest] = shape;
      if (first % 2 === 1) return null;
      const places = {
        shape: [first / 2, 2, ...rest],
        at: ([outer, inner, ...others]: number[]) => at([2 * outer + inner, ...others]),
      };
      return { value: build.add('Reshape', [value, build.ints(-1, 2, ...rest)]), places };
    },
  },
];

describe('storedView', () => {
  it('shows what the operators between a constant and its use let through', () => {
    const chain = array(tuple(nat(moves.length - 1), nat(100)), { maxLength: 5 });
    assert(
      property(chain, (steps) => {
        const build = builder();
        const weight = build.weight('w', [4, 6, 8]);
        let state: { value: Value; places: Places } = {
          value: weight,
          places: { shape: [4, 6, 8], at: ([a, b, c]: number[]) => (a * 6 + b) * 8 + c },
        };
        for (const [which, seed] of steps)
          state = moves[which].apply(build, state.value, state.places, seed) ?? state;
        const view = storedView(state.value, inferShapes(build.graph, build.graph.sortedNodes()))!;
        const { shape, at } = state.places;
        expect(view.axes.map(({ size }) => size)).toEqual(shape);
        const lead = shape.slice(0, -2).map(() => 0);
        const stored = readFloats(weight.tensor!.source);
        const expected = Array.from({ length: shape.at(-2)! }, (_, row) =>
          Array.from({ length: shape.at(-1)! }, (_, col) => stored[at([...lead, row, col])]),
        );
        const { data } = readMatrix(matrixOf(view, shape.length - 2, shape.length - 1));
        expect([...data]).toEqual(expected.flat());
      }),
    );
  });

  it('keeps the index of a gather at run time', () => {
    const build = builder();
    const index = build.graph.addNode('Cast', [build.input('i', ['n'])], {
      attributes: [{ name: 'to', type: 2, i: 7 }],
    });
    const picked = build.add('Gather', [build.weight('w', [5, 3, 2]), index.outputs[0]], { axis: 0 });
    const view = storedView(picked, inferShapes(build.graph, build.graph.sortedNodes()))!;
    expect(view.selector).toEqual({ index: index.outputs[0], size: 5, stride: 6 });
    expect(view.axes).toEqual([
      { size: null, stride: null },
      { size: 3, stride: 2 },
      { size: 2, stride: 1 },
    ]);
  });

  it('does not look through arithmetic', () => {
    const build = builder();
    const doubled = build.add('Mul', [build.weight('w', [2, 2]), build.scalar(2)]);
    expect(storedView(doubled, inferShapes(build.graph, build.graph.sortedNodes()))).toBeNull();
  });
});
