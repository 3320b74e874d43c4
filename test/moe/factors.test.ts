import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  choose,
  expert,
  flat,
  logits,
  maskedExperts,
  pickedExperts,
  scalar,
  scatter,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

type Scale = (b: Builder, value: Value, e: number) => Value;

const by =
  (factor: (e: number) => number, opType = 'Mul'): Scale =>
  (b, value, e) =>
    b.op(opType, [value, scalar(b, factor(e))]);
const twice = by(() => 2);
const half = by(() => 2, 'Div');
const inverse: Scale = (b, value) => b.op('Div', [scalar(b, 2), value]);

/** Every expert on the tokens that chose it, times a number. */
const picked =
  (scale: Scale): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const write: typeof expert = (_b, rows, e) => scale(b, expert(b, rows, e), e);
    const sum = pickedExperts(b, tokens, choose(b, logits(b, tokens)), { write });
    return b.op('Reshape', [sum, b.op('Shape', [x])]);
  };

/** The same where numbers multiply what was weighed already. */
const weighedFirst: Part = (b, x) => {
  const tokens = flat(b, x);
  const put: ReturnType<typeof scatter> = (_b, total, rows, weighed) =>
    scatter('add')(b, total, rows, twice(b, weighed, 0));
  const sum = pickedExperts(b, tokens, choose(b, logits(b, tokens)), { put });
  return b.op('Reshape', [sum, b.op('Shape', [x])]);
};

const all: Part = (b, x) =>
  maskedExperts(b, x, choose(b, logits(b, x)), (_b, rows, e) => twice(b, expert(b, rows, e), e));

it.each<[string, Part, number]>([
  ['a product before the weight', picked(twice), 2],
  ['a quotient', picked(half), 0.5],
  ['a product and a quotient', picked((b, value, e) => half(b, by(() => 3)(b, value, e), e)), 1.5],
  ['a product after the weight', weighedFirst, 2],
  ['products of all experts on all tokens', all, 2],
])(
  'a number that all outputs are multiplied by is brought into the weights: %s',
  async (_what, part, factor) => {
    const model = block(part);
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ quantizable: true, reason: '', boundary: { routing: { factor } } });
    const feeds = randomFeeds(model);
    expect(replayError(layer, await valuesOf(model, replayValues(layer.boundary!), feeds))).toBeLessThan(
      1e-5,
    );
    const prepared = prepareModel(block(part));
    const { boundary } = prepared.layers[0];
    expect(boundary!.routing.factor).toBeUndefined();
    const values = await valuesOf(prepared.model, replayValues(boundary!), feeds);
    expect(replayError(prepared.layers[0], values)).toBeLessThan(1e-5);
  },
);

it('numbers that differ between experts are refused', () => {
  expect(locate(block(picked(by((e) => e + 1)))).layers).toMatchObject([
    { quantizable: false, reason: 'the outputs of its experts are multiplied by unequal numbers' },
  ]);
});

it('a number that divides one by an output is no factor', () => {
  expect(locate(block(picked(inverse))).layers[0]?.reason).toMatch(
    /is not added to that of the other experts/,
  );
});
