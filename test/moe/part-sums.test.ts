import { describe, expect, it, test } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import { partSums } from '../../src/moe/rewrite/part-sums.ts';
import type { Value } from '../../src/onnx/value.ts';
import { builder } from './helpers/build.ts';
import type { Part, Put } from './helpers/parts.ts';
import {
  block,
  choose,
  expert,
  experts,
  flat,
  hidden,
  logits,
  pickedExperts,
  scatter,
  shareOf,
  width,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Another expert, that every token visits. */
const shared: Part = (b, x) => expert(b, x, experts);

/** index_add as TorchScript writes it: rows that were scattered into zeros are added. */
const addedRows: Put = (b, total, rows, weighed) => {
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [total])]);
  const first = b.op('Slice', [total, b.ints([0]), b.ints([1]), b.ints([0])]);
  const spread = b.op('Expand', [weighed, b.op('Shape', [first])]);
  const places = b.op('Expand', [b.op('Unsqueeze', [rows, b.ints([-1])]), b.op('Shape', [spread])]);
  return b.op('Add', [total, b.op('ScatterElements', [zeros, places, spread], { axis: 0 })]);
};

/** A loop over the experts that adds to `begin`. */
const loop =
  (begin: Part, put: Put): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const total = begin(b, tokens);
    const sum = pickedExperts(b, tokens, choose(b, logits(b, tokens)), { put, total });
    return b.op('Reshape', [sum, b.op('Shape', [x])]);
  };

/** Every expert on all tokens, added to what the shared one gives, as adapters are to the layer that they adapt. */
const adapters: Part = (b, x) => {
  const chosen = choose(b, logits(b, x));
  const weighed = (e: number): Value => b.op('Mul', [shareOf(b, chosen, e), expert(b, x, e)]);
  return Array.from({ length: experts }, (_, e) => e).reduce(
    (total, e) => b.op('Add', [total, weighed(e)]),
    shared(b, x),
  );
};

const tokens: Part = (_b, x) => x;

describe('a sum over experts that is begun on something else is read by itself', () => {
  it.each<[string, Part]>([
    ['rows, on a shared expert', loop(shared, scatter('add'))],
    ['rows, on the tokens', loop(tokens, scatter('add'))],
    ['rows in tables of their own, on a shared expert', loop(shared, addedRows)],
    ['rows in tables of their own, on the tokens', loop(tokens, addedRows)],
    ['products, on a shared expert', adapters],
  ])('%s', async (_what, part) => {
    const [plain, model] = [block(part), block(part)];
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ quantizable: true, reason: '' });
    const feeds = randomFeeds(model);
    const y = ({ graph }: typeof model): Value => graph.outputs[0];
    const values = await valuesOf(model, [...replayValues(layer.boundary!), y(model)], feeds);
    expect(replayError(layer, values)).toBeLessThan(1e-5);
    const expected = (await valuesOf(plain, [y(plain)], feeds)).get(y(plain))!;
    const found = values.get(y(model))!;
    Array.from(expected, (value, at) => expect(found[at]).toBeCloseTo(value, 4));
  });

  it.each([loop(shared, scatter('add')), adapters])('a shared expert is told beside it', (part) => {
    expect(locate(block(part)).layers[0].shared).toMatchObject({ intermediate: width });
  });
});

const add = (b: ReturnType<typeof builder>, ...parts: Value[]): Value =>
  parts.reduce((sum, each) => b.add('Add', [sum, each]));

/** How many sums are parted in a graph of these additions, to a value that is no part of any. */
function parted(write: (b: ReturnType<typeof builder>, base: Value, product: () => Value) => Value): number {
  const b = builder();
  const x = b.input('x', ['n', hidden]);
  const product = (): Value => b.add('Mul', [b.add('MatMul', [x, b.weight('w', [hidden, hidden])]), x]);
  b.output(write(b, b.add('Relu', [x]), product));
  return partSums(b.graph);
}

test('one product, products alone, and sums that are read in between stay as they are', () => {
  expect(parted((b, base, product) => add(b, base, product(), product()))).toBe(1);
  expect(parted((b, base, product) => add(b, base, product()))).toBe(0);
  expect(parted((b, base, product) => add(b, product(), product(), product(), base))).toBe(0);
  expect(parted((b, base) => add(b, base, b.add('Mul', [base, base]), b.add('Mul', [base, base])))).toBe(0);
  const between = parted((b, base, product) => {
    const sum = add(b, base, product());
    return add(b, sum, product(), b.add('Relu', [sum]));
  });
  expect(between).toBe(0);
});
