import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, expert, experts, flat, hidden, logits, scalar, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const capacity = 2;

interface Form {
  /** Says which number of its expert's tokens each one is, [tokens, experts]. */
  count: Part;
  /** From the weights of all slots, [tokens, experts, slots], to the tokens in them, [experts, slots, hidden]. */
  fill: (b: Builder, slots: Value, tokens: Value) => Value;
  /** From the tokens in all slots to what experts give for them. */
  run: Part;
  /** Adds up what slots hold by their weights. */
  combine: (b: Builder, slots: Value, outputs: Value) => Value;
}

const range = (b: Builder, count: number): Value => b.ints(Array.from({ length: count }, (_, at) => at));
const float = (b: Builder, value: Value): Value => b.op('Cast', [value], { to: 1 });
const truth = (b: Builder, value: Value): Value => float(b, b.op('Cast', [value], { to: 9 }));
const last = (b: Builder, value: Value): Value => b.op('Unsqueeze', [value, b.ints([-1])]);

const counted: Part = (b, chosen) => b.op('Sub', [b.op('CumSum', [chosen, b.ints(0)]), scalar(b, 1)]);

const filled: Form['fill'] = (b, slots, tokens) =>
  b.op('Einsum', [truth(b, slots), tokens], { equation: 'tec,td->ecd' });

const aboveZero: Form['fill'] = (b, slots, tokens) =>
  b.op('Einsum', [float(b, b.op('Greater', [slots, scalar(b, 0)])), tokens], { equation: 'tec,td->ecd' });

/** One expert after the other, on the slots of `slotsOf(e)`. */
const oneByOne =
  (slotsOf = (e: number): number => e): Part =>
  (b, x) => {
    const outputs = Array.from({ length: experts }, (_, e) =>
      expert(b, b.op('Gather', [x, b.ints(slotsOf(e))], { axis: 0 }), e),
    );
    return b.op(
      'Concat',
      outputs.map((each) => b.op('Unsqueeze', [each, b.ints([0])])),
      { axis: 0 },
    );
  };

const bySplit: Part = (b, x) => {
  const parts = b.ops(experts, 'Split', [x, b.ints(Array<number>(experts).fill(1))], { axis: 0 });
  return b.op(
    'Concat',
    parts.map((each, e) => expert(b, each, e)),
    { axis: 0 },
  );
};

/** As DeepSpeed does: behind an axis of devices. */
const bySplitPerDevice: Part = (b, x) => {
  const ones = b.ints(Array<number>(experts).fill(1));
  const parts = b.ops(experts, 'Split', [b.op('Unsqueeze', [x, b.ints([0])]), ones], { axis: 1 });
  return b.op(
    'Concat',
    parts.map((each, e) => expert(b, each, e)),
    { axis: 1 },
  );
};

const atOnce: Part = (b, x) => {
  const up = b.op('Relu', [b.op('MatMul', [x, weight(b, 'ups', [experts, hidden, width])])]);
  return b.op('MatMul', [up, weight(b, 'downs', [experts, width, hidden])]);
};

const summed =
  (equation = 'tec,ecd->td'): Form['combine'] =>
  (b, slots, outputs) =>
    b.op('Einsum', [slots, outputs], { equation });

const flatly: Form['combine'] = (b, slots, outputs) =>
  b.op('MatMul', [
    b.op('Reshape', [slots, b.ints([-1, experts * capacity])]),
    b.op('Reshape', [outputs, b.ints([-1, hidden])]),
  ]);

const plain: Form = { count: counted, fill: filled, run: oneByOne(), combine: summed() };

/** Switch: one expert per token, which takes so many of them and leaves the others out. */
const layer =
  (form: Partial<Form>): Part =>
  (b, x) => {
    const { count, fill, run, combine } = { ...plain, ...form };
    const tokens = flat(b, x);
    const shares = b.op('Softmax', [logits(b, tokens)], { axis: -1 });
    const choice = b.op('ArgMax', [shares], { axis: -1, keepdims: 1 });
    const chosen = float(b, b.op('Equal', [choice, range(b, experts)]));
    const numbers = count(b, chosen);
    const kept = b.op('Mul', [chosen, float(b, b.op('Less', [numbers, scalar(b, capacity)]))]);
    const place = b.op('ReduceSum', [b.op('Mul', [numbers, kept]), b.ints([-1])], { keepdims: 0 });
    const isThere = float(b, b.op('Equal', [last(b, b.op('Cast', [place], { to: 7 })), range(b, capacity)]));
    const weights = b.op('Mul', [shares, kept]);
    const slots = b.op('Einsum', [weights, isThere], { equation: 'te,tc->tec' });
    return b.op('Reshape', [combine(b, slots, run(b, fill(b, slots, tokens))), b.op('Shape', [x])]);
  };

describe('tokens are put into slots where weights are not zero, and', () => {
  it.each<[string, Partial<Form>]>([
    ['each expert picks its own', {}],
    ['each expert gets a part', { run: bySplit }],
    ['all experts work at once', { run: atOnce }],
    ['they are added up by a product', { combine: flatly }],
    ['they are added up by a product, behind an axis of one', { run: bySplitPerDevice, combine: flatly }],
    ['only those above zero have a slot', { fill: aboveZero }],
  ])('%s', async (_, form) => {
    const model = block(layer(form));
    const { layers } = locate(model);
    expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'capacity' }]);
    const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
    expect(replayError(layers[0], values)).toBeLessThan(1e-5);
  });
});

describe('slots are refused', () => {
  it.each<[string, Partial<Form>, RegExp]>([
    [
      'of another expert',
      { run: oneByOne((e) => experts - 1 - e) },
      /reads slots that are not those of its expert/,
    ],
    ['of one expert for all', { run: oneByOne(() => 1) }, /reads slots that are not those of its expert/],
    [
      'that are not those that are weighed',
      { fill: (b, slots, tokens) => filled(b, b.op('Sub', [slots, scalar(b, 0.1)]), tokens) },
      /put into other slots than are weighed/,
    ],
    [
      'of weights that are no truth values',
      { fill: (b, slots, tokens) => b.op('Einsum', [slots, tokens], { equation: 'tec,td->ecd' }) },
      /mixes tokens/,
    ],
    [
      'of tokens that were not counted',
      { count: (b, chosen) => b.op('Sub', [chosen, chosen]) },
      /mixes tokens/,
    ],
    [
      'that are weighed in another order',
      { combine: summed('tce,ecd->td') },
      /weights of the slots were not found/,
    ],
  ])('%s', (_, form, reason) => {
    expect(locate(block(layer(form))).layers[0]?.reason).toMatch(reason);
  });
});
