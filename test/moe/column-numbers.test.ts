import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  choose,
  expert,
  experts,
  flat,
  gatheredExperts,
  k,
  logits,
  maskedExperts,
  pickedExperts,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** What a graph makes of the numbers of chosen experts, [tokens, k]. */
type Count = (b: Builder, indices: Value) => Value;
/** A layer that goes on with what was made of them. */
type Dispatch = (b: Builder, tokens: Value, chosen: [Value, Value]) => Value;

const sizeOf = (b: Builder, value: Value): Value => b.op('Squeeze', [b.op('Shape', [value]), b.ints([0])]);
const rangeOf = (b: Builder, value: Value): Value => b.op('Range', [b.ints(0), sizeOf(b, value), b.ints(1)]);

/** Rows in the order of their experts, cut by how many each has. `keyOf` gives what is sorted. */
const sorted =
  (keyOf: Count, attributes: Record<string, number>): Dispatch =>
  (b, tokens, [weights, indices]) => {
    const list = b.op('Reshape', [indices, b.ints([-1])]);
    const all = b.op('Shape', [list]);
    const [, order] = b.ops(2, 'TopK', [keyOf(b, list), all], attributes);
    const counts = b.op(
      'ReduceSum',
      [b.op('OneHot', [list, b.ints([experts]), b.ints([0, 1])], { axis: -1 }), b.ints([0])],
      { keepdims: 0 },
    );
    const places = b.op('Div', [order, b.ints(k)]);
    const parts = b.ops(experts, 'Split', [b.op('Gather', [tokens, places]), counts], { axis: 0 });
    const rows = b.op(
      'Concat',
      parts.map((part, e) => expert(b, part, e)),
      { axis: 0 },
    );
    const shares = b.op('Gather', [b.op('Reshape', [weights, b.ints([-1, 1])]), order]);
    const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
    const at = b.op('Unsqueeze', [places, b.ints([-1])]);
    return b.op('ScatterND', [zeros, at, b.op('Mul', [rows, shares])], { reduction: 'add' });
  };

const layer =
  (count: Count, dispatch: Dispatch): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const [weights, indices] = choose(b, logits(b, tokens));
    const output = dispatch(b, tokens, [weights, count(b, indices)]);
    return b.op('Reshape', [output, b.op('Shape', [x])]);
  };

const forms: [string, Dispatch][] = [
  ['rows are picked', pickedExperts],
  ['experts are masked', maskedExperts],
  ['weights are gathered', gatheredExperts],
];

const rotated: Count = (b, indices) => b.op('Mod', [b.op('Add', [indices, b.ints(1)]), b.ints(experts)]);
const reversed: Count = (b, indices) => b.op('Sub', [b.ints(experts - 1), indices]);
const cut: Count = (b, indices) => b.op('Min', [indices, b.ints(experts - 2)]);

describe('experts of other numbers than their columns are refused', () => {
  it.each(
    forms.flatMap(([form, dispatch]) => [
      [form, 'rotated', layer(rotated, dispatch)] as const,
      [form, 'reversed', layer(reversed, dispatch)] as const,
      [form, 'cut', layer(cut, dispatch)] as const,
    ]),
  )('where %s by numbers that are %s', (_form, _way, part) => {
    expect(locate(block(part)).layers).toMatchObject([
      { quantizable: false, reason: expect.stringContaining('no longer columns of the router') },
    ]);
  });
});

/** As scatters into a flat table do: the number of the expert in a row of its token. */
const flattened: Count = (b, indices) => {
  const rows = b.op('Squeeze', [
    b.op('Slice', [b.op('Shape', [indices]), b.ints([0]), b.ints([1])]),
    b.ints([0]),
  ]);
  const token = b.op('Range', [b.ints(0), rows, b.ints(1)]);
  const offsets = b.op('Unsqueeze', [b.op('Mul', [token, b.ints(experts)]), b.ints([-1])]);
  return b.op('Mod', [b.op('Add', [indices, offsets]), b.ints(experts)]);
};
const backAndForth: Count = (b, indices) => b.op('Sub', [b.op('Add', [indices, b.ints(3)]), b.ints(3)]);

async function replayed(part: Part): Promise<number> {
  const model = block(part);
  const [{ boundary, ...rest }] = locate(model).layers;
  expect(rest).toMatchObject({ quantizable: true, reason: '' });
  const values = await valuesOf(model, replayValues(boundary!), randomFeeds(model));
  return replayError({ boundary, ...rest }, values);
}

describe('counting that comes back to the columns changes nothing', () => {
  it.each(
    forms.flatMap(([form, dispatch]) => [
      [form, 'laid end to end by token', layer(flattened, dispatch)] as const,
      [form, 'moved and moved back', layer(backAndForth, dispatch)] as const,
    ]),
  )('where %s by numbers that are %s', async (_form, _way, part) => {
    expect(await replayed(part)).toBeLessThan(1e-5);
  });
});

const stable: Count = (b, list) => b.op('Add', [b.op('Mul', [list, sizeOf(b, list)]), rangeOf(b, list)]);
const negative: Count = (b, list) => b.op('Mul', [stable(b, list), b.ints(-1)]);
const same: Count = (_b, indices) => indices;

describe('what is sorted', () => {
  it.each<[string, Count, number]>([
    ['rises with the column', stable, 0],
    ['falls with it, largest first', negative, 1],
  ])('%s', async (_way, keyOf, largest) => {
    expect(await replayed(layer(same, sorted(keyOf, { largest })))).toBeLessThan(1e-5);
  });

  it('may not turn the columns round', () => {
    expect(locate(block(layer(same, sorted(negative, { largest: 0 })))).layers).toMatchObject([
      { quantizable: false, reason: expect.stringContaining('no longer columns of the router') },
    ]);
  });
});
