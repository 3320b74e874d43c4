import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part, Put } from './helpers/parts.ts';
import { block, choose, expert, experts, flat, logits, pickedExperts, scatter } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

type Choice = [weights: Value, indices: Value];

/** Two experts per token; what one gives is put to the sum by `put`. */
const layer =
  (put: (tokens: Value) => Put, change = (_b: Builder, chosen: Choice): Choice => chosen): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const chosen = change(b, choose(b, logits(b, tokens)));
    return b.op('Reshape', [pickedExperts(b, tokens, chosen, { put: put(tokens) }), b.op('Shape', [x])]);
  };

const column = (b: Builder, rows: Value): Value => b.op('Unsqueeze', [rows, b.ints([-1])]);
const overwrite = scatter('none');

/** `total[rows] += weighed` as TorchScript writes it. */
const byGather: Put = (b, total, rows, weighed) => {
  const added = b.op('Add', [b.op('Gather', [total, rows]), weighed]);
  return overwrite(b, total, rows, b.op('Reshape', [added, b.op('Shape', [weighed])]));
};

/** The same as torch.export writes it. */
const byGatherND: Put = (b, total, rows, weighed) => {
  const places = column(b, rows);
  const added = b.op('Add', [weighed, b.op('GatherND', [total, places])]);
  return b.op('ScatterND', [total, places, added]);
};

it.each([
  ['Gather', byGather],
  ['GatherND', byGatherND],
])('rows that a %s takes from the sum and a scatter writes back are added to it', async (_op, put) => {
  const model = block(layer(() => put));
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'loop' }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

/** `total[mask] += weighed[mask]` for a mask [batch, sequence] of each expert's tokens; rows are taken by the mask of `taken(e)`. */
const byMask =
  (taken = (e: number): number => e): Part =>
  (b, x) => {
    const chosen = choose(b, logits(b, x), 1);
    const [shares, choice] = chosen.map((each) => b.op('Squeeze', [each, b.ints([-1])]));
    const masks = Array.from({ length: experts }, (_, e) => b.op('Equal', [choice, b.ints(e)]));
    const places = (mask: Value): Value => b.op('Transpose', [b.op('NonZero', [mask])], { perm: [1, 0] });
    const shape = b.op('Shape', [x]);
    const add = (total: Value, e: number): Value => {
      const at = places(masks[e]);
      const output = expert(b, b.op('GatherND', [x, at]), e);
      const weighed = b.op('Mul', [output, column(b, b.op('GatherND', [shares, at]))]);
      const sum = b.op('Add', [b.op('GatherND', [total, places(masks[taken(e)])]), weighed]);
      const wide = b.op('Expand', [column(b, masks[e]), shape]);
      return b.op('ScatterND', [total, places(wide), b.op('Reshape', [sum, b.ints([-1])])]);
    };
    return [...masks.keys()].reduce(add, b.op('ConstantOfShape', [shape]));
  };

it('rows that a mask lets through are added to the places it was spread over', async () => {
  const model = block(byMask());
  const { layers } = locate(model);
  expect(layers).toMatchObject([{ quantizable: true, reason: '', form: 'loop' }]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

const reasonOf = (part: Part): string | undefined => locate(block(part)).layers[0]?.reason;

/** Takes rows from `table`, or others than it writes. */
const from =
  (table: (b: Builder, total: Value) => Value, read = (_b: Builder, rows: Value): Value => rows): Put =>
  (b, total, rows, weighed) =>
    overwrite(b, total, rows, b.op('Add', [b.op('Gather', [table(b, total), read(b, rows)]), weighed]));

const own = (_b: Builder, total: Value): Value => total;

/** Choices pass a bound, so that two of one token might be the same. */
const cut = (b: Builder, [weights, indices]: Choice): Choice => [
  weights,
  b.op('Min', [indices, b.ints(experts - 1)]),
];

describe('what only looks like an addition to rows of the sum is refused', () => {
  it.each<[string, (tokens: Value) => Put]>([
    ['rows of another table', (tokens) => from(() => tokens)],
    ['rows of the doubled sum', () => from((b, total) => b.op('Add', [total, total]))],
    ['other rows', () => from(own, (b, rows) => b.op('Sub', [rows, b.ints(1)]))],
    [
      'a sum of which more is read',
      () => (b, total, rows, weighed) =>
        b.op('Add', [byGather(b, total, rows, weighed), b.op('Sin', [total])]),
    ],
    [
      'rows that something else reads',
      () => (b, total, rows, weighed) => {
        const taken = b.op('Gather', [total, rows]);
        const added = b.op('Add', [b.op('Add', [taken, weighed]), b.op('Sin', [taken])]);
        return overwrite(b, total, rows, added);
      },
    ],
    [
      'rows of the tokens, added as well',
      (tokens) => (b, total, rows, weighed) =>
        byGather(b, byGather(b, total, rows, weighed), rows, b.op('Gather', [tokens, rows])),
    ],
  ])('%s', (_what, put) => {
    expect(reasonOf(layer(put))).toMatch(/is not added to that of the other experts|overwrites/);
  });

  it('rows that another mask lets through', () => {
    expect(reasonOf(byMask((e) => experts - 1 - e))).toMatch(/is not added to/);
  });

  it('rows that may come twice', () => {
    expect(reasonOf(layer(() => scatter('add'), cut))).toBe('');
    expect(reasonOf(layer(() => byGather, cut))).toMatch(/is not added to/);
  });
});
