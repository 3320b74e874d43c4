import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, choose, expert, experts, flat, k, logits, scalar, scatter } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Gates [tokens, experts], and what is above zero where a token goes to expert `e`. */
type Gates = (b: Builder, tokens: Value) => { table: Value; mask: (e: number) => Value };

const columnOf = (b: Builder, table: Value, e: number): Value =>
  b.op('Gather', [table, b.ints(e)], { axis: 1 });
const above = (b: Builder, table: Value, bound: number): ReturnType<Gates> => ({
  table,
  mask: (e) => b.op('Greater', [columnOf(b, table, e), scalar(b, bound)]),
});
const listed =
  (make: Part, as = (_b: Builder, column: Value): Value => column): Gates =>
  (b, tokens) => {
    const table = make(b, tokens);
    return { table, mask: (e) => as(b, columnOf(b, table, e)) };
  };

const relu: Part = (b, tokens) => b.op('Relu', [logits(b, tokens)]);

/** Weights of the two chosen ones among columns filled with `fill`. */
const scattered = (b: Builder, [weights, indices]: [Value, Value], fill: number): Value => {
  const shape = b.op('Concat', [b.op('Shape', [indices], { start: 0, end: 1 }), b.ints([experts])], {
    axis: 0,
  });
  return b.op('ScatterElements', [b.op('Expand', [scalar(b, fill), shape]), indices, weights], { axis: 1 });
};
const chosen: Part = (b, tokens) => scattered(b, choose(b, logits(b, tokens)), 0);

/** Where any choice of a token is expert `e`. */
const any = (b: Builder, indices: Value, e: number, axis = -1): Value => {
  const equal = b.op('Cast', [b.op('Equal', [indices, b.ints(e)])], { to: 7 });
  return b.op('Greater', [b.op('ReduceSum', [equal, b.ints([axis])], { keepdims: 0 }), b.ints(0)]);
};

/** A softmax over what was chosen, as the table that `weigh` makes of it. */
const anyChosen =
  (weigh: (b: Builder, choice: [Value, Value], scores: Value) => Value, axis = -1): Gates =>
  (b, tokens) => {
    const scores = logits(b, tokens);
    const choice = choose(b, scores);
    return { table: weigh(b, choice, scores), mask: (e) => any(b, choice[1], e, axis) };
  };
const softmax = (b: Builder, scores: Value): Value => b.op('Softmax', [scores], { axis: -1 });
const masked = anyChosen((b, choice) => softmax(b, scattered(b, choice, -Infinity)));

/** Every expert on the tokens that its column lists, added to them. */
const loop =
  (gates: Gates, cap?: (b: Builder, tokens: Value) => Value): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const { table, mask } = gates(b, tokens);
    const add = (total: Value, e: number): Value => {
      const places = b.op('Squeeze', [b.op('NonZero', [mask(e)]), b.ints([0])]);
      const rows =
        cap === undefined ? places : b.op('Slice', [places, b.ints([0]), cap(b, tokens), b.ints([0])]);
      const share = b.op('Gather', [columnOf(b, table, e), rows]);
      const weighed = b.op('Mul', [
        expert(b, b.op('Gather', [tokens, rows]), e),
        b.op('Unsqueeze', [share, b.ints([-1])]),
      ]);
      return scatter('add')(b, total, rows, weighed);
    };
    const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
    return b.op('Reshape', [
      Array.from({ length: experts }, (_, e) => e).reduce(add, zeros),
      b.op('Shape', [x]),
    ]);
  };

/** Scores, or what is made of them, weigh the experts that were chosen from them. */
const scored =
  (as: (b: Builder, scores: Value) => Value): Gates =>
  (b, tokens) => {
    const scores = softmax(b, logits(b, tokens));
    const [, indices] = b.ops(2, 'TopK', [scores, b.ints([k])]);
    return { table: as(b, scores), mask: (e) => any(b, indices, e) };
  };

const half = (b: Builder, tokens: Value): Value =>
  b.op('Div', [b.op('Shape', [tokens], { start: 0, end: 1 }), b.ints(2)]);

const read: Record<string, [Gates, 'dense' | 'topk']> = {
  'above zero (ReMoE)': [(b, tokens) => above(b, relu(b, tokens), 0), 'dense'],
  'that are not zero': [listed(relu), 'dense'],
  'of a choice': [listed(chosen), 'topk'],
  'that any choice of a token equals': [anyChosen((b, choice) => scattered(b, choice, 0)), 'topk'],
  'that any choice equals, of the scores that it is made from': [scored((_b, scores) => scores), 'topk'],
  'that any choice equals, under a softmax over −∞ (makeMoE)': [masked, 'dense'],
};

describe('loops over the tokens of gates', () => {
  it.each(Object.entries(read))('%s', async (_name, [gates, kind]) => {
    const model = block(loop(gates));
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({
      form: 'loop',
      quantizable: true,
      reason: '',
      boundary: { routing: { kind } },
    });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it('that are sorted before are weighed by the gates that were listed', async () => {
    const model = block(sortedByGates);
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ form: 'sorted', quantizable: true, reason: '' });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it.each<[string, Part]>([
    ['beyond a threshold', loop((b, tokens) => above(b, relu(b, tokens), 0.1))],
    ['that may lie below zero', loop((b, tokens) => above(b, b.op('Tanh', [logits(b, tokens)]), 0))],
    ['up to a number of tokens', loop(listed(relu), (b) => b.ints([3]))],
    ['up to a share of the tokens', loop(listed(relu), half)],
    ['rounded to whole numbers', loop(listed(relu, (b, column) => b.op('Cast', [column], { to: 7 })))],
    ['that others are weighed by', loop(anyChosen((b, _choice, scores) => softmax(b, scores)))],
    ['that the scores weigh after a change', loop(scored((b, scores) => b.op('Sqrt', [scores])))],
    ['of experts that any token chose', loop(anyChosen((b, choice) => scattered(b, choice, 0), 0))],
  ])('%s are refused', (_what, part) => {
    expect(locate(block(part)).layers[0]?.reason).toMatch(
      /weights of all experts meet tokens of one|was not found/,
    );
  });
});

/** Tokens of all gates, those of one expert after those of the other, as the sparsely-gated mixture of D. Rau has them. */
function sortedByGates(b: Builder, x: Value): Value {
  const tokens = flat(b, x);
  const gates = chosen(b, tokens);
  const places = b.op('Transpose', [b.op('NonZero', [gates])], { perm: [1, 0] });
  const size = b.op('Shape', [places], { start: 0, end: 1 });
  const [sorted, order] = b.ops(2, 'TopK', [places, size], { axis: 0, largest: 0 });
  const byExpert = b.op('Gather', [order, b.ints(1)], { axis: 1 });
  const rows = b.op('Gather', [b.op('Gather', [places, b.ints(0)], { axis: 1 }), byExpert]);
  const column = b.op('Slice', [sorted, b.ints([1]), b.ints([2]), b.ints([1])]);
  const shares = b.op('GatherElements', [b.op('Gather', [gates, rows]), column], { axis: 1 });
  const isChosen = b.op('Cast', [b.op('Greater', [gates, scalar(b, 0)])], { to: 7 });
  const counts = b.op('ReduceSum', [isChosen, b.ints([0])], { keepdims: 0 });
  const parts = b.ops(experts, 'Split', [b.op('Gather', [tokens, rows]), counts], { axis: 0 });
  const outputs = b.op(
    'Concat',
    parts.map((part, e) => expert(b, part, e)),
    { axis: 0 },
  );
  const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
  const total = scatter('add')(b, zeros, rows, b.op('Mul', [outputs, shares]));
  return b.op('Reshape', [total, b.op('Shape', [x])]);
}
