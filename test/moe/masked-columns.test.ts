import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { choose, experts, flat, hidden, k, logits, norm, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** What the graph makes of a choice and its weight. */
type Mask = (b: Builder, indices: Value, weights: Value) => [Value, Value];

const columns = experts + 2;

/** Weights gathered from stacks of experts, behind a router with two columns more. */
function gatheredStacks(mask: Mask): Model {
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => {
    const x = b.op('Reshape', [norm(b, stream), b.ints([-1, 1, hidden, 1])]);
    const [weights, indices] = choose(
      b,
      b.op('Reshape', [logits(b, norm(b, stream), columns), b.ints([-1, columns])]),
    );
    const [index, share] = mask(b, indices, weights);
    const up = b.op('MatMul', [b.op('Gather', [weight(b, 'up', [experts, width, hidden]), index]), x]);
    const down = b.op('MatMul', [
      b.op('Gather', [weight(b, 'down', [experts, hidden, width]), index]),
      b.op('Relu', [up]),
    ]);
    const weighed = b.op('Mul', [
      b.op('Squeeze', [down, b.ints([-1])]),
      b.op('Unsqueeze', [share, b.ints([-1])]),
    ]);
    const sum = b.op('ReduceSum', [weighed, b.ints([1])], { keepdims: 0 });
    return { y: b.op('Add', [stream, b.op('Reshape', [sum, b.op('Shape', [stream])])]) };
  });
}

const zero = (b: Builder): Value => b.constant('zero', 'float32', [], [0]);

/** As ZAYA does. */
const where: Mask = (b, indices, weights) => {
  const isSkip = b.op('GreaterOrEqual', [indices, b.ints(experts)]);
  return [b.op('Where', [isSkip, b.ints(0), indices]), b.op('Where', [isSkip, zero(b), weights])];
};
const cutAndMultiply: Mask = (b, indices, weights) => {
  const isExpert = b.op('Cast', [b.op('Less', [indices, b.ints(experts)])], { to: 1 });
  return [b.op('Min', [indices, b.ints(experts - 1)]), b.op('Mul', [weights, isExpert])];
};
/** The columns without an expert come first. */
const shifted: Mask = (b, indices, weights) => {
  const [isSkip, moved] = [b.op('Less', [indices, b.ints(2)]), b.op('Sub', [indices, b.ints(2)])];
  return [b.op('Where', [isSkip, b.ints(0), moved]), b.op('Where', [isSkip, zero(b), weights])];
};
/** The last expert works for the columns beyond it. */
const cut: Mask = (b, indices, weights) => [b.op('Min', [indices, b.ints(experts - 1)]), weights];

function onlyLayer(model: Model): MoeLayer {
  const { layers } = locate(model);
  expect(layers).toHaveLength(1);
  return layers[0];
}

it.each<[string, Mask, typeof gatheredStacks]>([
  ['a condition', where, gatheredStacks],
  ['a bound and a product', cutAndMultiply, gatheredStacks],
  ['a condition, in a loop,', where, loopedStacks],
])(
  'columns beyond the stack that %s weigh with zero are experts that do nothing',
  async (_way, mask, write) => {
    const model = write(mask);
    const layer = onlyLayer(model);
    expect(layer).toMatchObject({ complete: true, quantizable: true, reason: '', warnings: [] });
    expect(layer.router).toMatchObject({ experts: columns, topK: k });
    expect(layer.experts.map(({ index, kind }) => [index, kind])).toEqual([
      [0, 'ffn'],
      [1, 'ffn'],
      [2, 'ffn'],
      [3, 'ffn'],
      [4, 'zero'],
      [5, 'zero'],
    ]);
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  },
);

/** One after the other, every expert that some token chose, its weights picked from stacks by its number. */
function loopedStacks(mask: Mask): Model {
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => {
    const x = flat(b, norm(b, stream));
    const [weights, indices] = choose(b, logits(b, x, columns));
    const [index, share] = mask(b, indices, weights);
    const chosen = b.op('OneHot', [index, b.ints(columns), b.ints([0, 1])]);
    const table = b.op('Transpose', [chosen], { perm: [2, 0, 1] });
    const hit = b.op('NonZero', [
      b.op('Cast', [b.op('ReduceMax', [table, b.ints([1, 2])], { keepdims: 0 })], { to: 9 }),
    ]);
    const list = b.op('Transpose', [hit], { perm: [1, 0] });
    const numbers = b.ops(experts, 'Split', [list, b.ints(Array.from({ length: experts }, () => 1))]);
    const zeros = b.op('ConstantOfShape', [b.op('Shape', [x])]);
    const write = (total: Value, number: Value): Value => {
      const e = b.op('Gather', [b.op('Squeeze', [number, b.ints([0])]), b.ints(0)]);
      const pick = (name: string, shape: number[]): Value => b.op('Gather', [weight(b, name, shape), e]);
      const places = b.op('NonZero', [b.op('Gather', [table, e])]);
      const rows = b.op('Gather', [places, b.ints(0)]);
      const up = b.op('MatMul', [b.op('Gather', [x, rows]), pick('up', [experts, hidden, width])]);
      const down = b.op('MatMul', [b.op('Relu', [up]), pick('down', [experts, width, hidden])]);
      const shares = b.op('GatherND', [share, b.op('Transpose', [places], { perm: [1, 0] })]);
      const weighed = b.op('Mul', [down, b.op('Unsqueeze', [shares, b.ints([-1])])]);
      return b.op('ScatterND', [total, b.op('Unsqueeze', [rows, b.ints([-1])]), weighed], {
        reduction: 'add',
      });
    };
    return {
      y: b.op('Add', [stream, b.op('Reshape', [numbers.reduce(write, zeros), b.op('Shape', [stream])])]),
    };
  });
}

it.each([
  ['are shifted against the stack', shifted],
  ['share an expert', cut],
])('columns that %s are not understood', (_what, mask) => {
  expect(onlyLayer(gatheredStacks(mask))).toMatchObject({
    complete: false,
    quantizable: false,
    reason: `the file holds ${experts} of ${columns} experts`,
    warnings: [expect.stringContaining('what the others do was not understood')],
  });
});

/** All experts on all tokens, weighed by some columns of a table of all. */
function denseStacks(from: number): Model {
  return makeModel({ x: ['float32', ['tokens', hidden]] }, (b, stream) => {
    const x = norm(b, stream);
    const scores = logits(b, x, columns);
    const [weights, indices] = choose(b, scores);
    const none = b.op('ConstantOfShape', [b.op('Shape', [scores])]);
    const table = b.op('ScatterElements', [none, indices, weights], { axis: -1 });
    const shares = b.op('Slice', [table, b.ints([from]), b.ints([from + experts]), b.ints([1])]);
    const up = b.op('Einsum', [x, weight(b, 'up', [experts, hidden, width])], { equation: 'td,edf->tef' });
    const down = b.op('Einsum', [b.op('Relu', [up]), weight(b, 'down', [experts, width, hidden])], {
      equation: 'tef,efh->teh',
    });
    return { y: b.op('Add', [stream, b.op('Einsum', [down, shares], { equation: 'teh,te->th' })]) };
  });
}

it('columns that are cut off before the stack is weighed are experts that do nothing', async () => {
  const model = denseStacks(0);
  const layer = onlyLayer(model);
  expect(layer).toMatchObject({ form: 'dense', complete: true, quantizable: true, reason: '' });
  expect(layer.experts.map(({ kind }) => kind)).toEqual(['ffn', 'ffn', 'ffn', 'ffn', 'zero', 'zero']);
  const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
  expect(replayError(layer, values)).toBeLessThan(1e-5);
});

it('columns that are cut off in front of it are not understood', () => {
  expect(onlyLayer(denseStacks(2))).toMatchObject({ complete: false, quantizable: false });
});
