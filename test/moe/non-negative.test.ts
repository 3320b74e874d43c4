import { describe, expect, it } from 'vitest';
import { isNonNegative } from '../../src/moe/graph/non-negative.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Builder } from './helpers/build.ts';
import { builder } from './helpers/build.ts';

type Make = (build: Builder, x: Value) => Value;

function judge(make: Make): boolean {
  const build = builder();
  return isNonNegative(make(build, build.input('x', ['tokens', 8])));
}

const chosen: Make = ({ add, many, ints }, x) => many('TopK', 2, [add('Softmax', [x]), ints(2)])[0];

describe('isNonNegative', () => {
  it.each<[string, Make]>([
    ['the largest of a softmax', chosen],
    [
      'divided by their sum',
      (build, x) => {
        const top = chosen(build, x);
        return build.add('Div', [top, build.add('ReduceSum', [top, build.ints(-1)])]);
      },
    ],
    [
      'scattered into zeros',
      (build, x) =>
        build.add('ScatterElements', [
          build.add('ConstantOfShape', [build.add('Shape', [x])]),
          x,
          chosen(build, x),
        ]),
    ],
    [
      'times a mask',
      ({ add }, x) => add('Mul', [add('Sigmoid', [x]), add('Cast', [add('Greater', [x, x])], { to: 1 })]),
    ],
    ['a square', ({ add }, x) => add('Mul', [x, x])],
    ['cut at zero', ({ add, scalar }, x) => add('Clip', [x, scalar(0)])],
    ['one of two', ({ add, scalar }, x) => add('Where', [add('Greater', [x, x]), scalar(1), scalar(0)])],
  ])('accepts %s', (_, make) => {
    expect(judge(make)).toBe(true);
  });

  it.each<[string, Make]>([
    ['what comes from outside', (_, x) => x],
    ['the largest of a tanh', ({ add, many, ints }, x) => many('TopK', 2, [add('Tanh', [x]), ints(2)])[0]],
    [
      'a softmax times what may be negative',
      ({ add, scalar }, x) => add('Mul', [add('Softmax', [x]), scalar(-1)]),
    ],
    ['a difference', ({ add }, x) => add('Sub', [add('Softmax', [x]), add('Sigmoid', [x])])],
    ['cut below zero', ({ add, scalar }, x) => add('Clip', [x, scalar(-1)])],
  ])('does not accept %s', (_, make) => {
    expect(judge(make)).toBe(false);
  });
});
