import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, expert, experts, flat, hidden, logits } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Tokens that an expert takes at most. */
const slots = 3;

const cast = (b: Builder, value: Value, to: number): Value => b.op('Cast', [value], { to });
const float = (b: Builder, value: Value): Value => cast(b, value, 1);
const behind = (b: Builder, value: Value, ...axes: number[]): Value =>
  b.op('Unsqueeze', [value, b.ints(axes)]);
const counting = (b: Builder): Value => b.ints(Array.from({ length: slots }, (_, slot) => slot));

/** Weights [..., experts, slots]: a token that chose an expert takes its next slot, as long as there is one (GShard). */
function combineWeights(b: Builder, x: Value): Value {
  const scores = b.op('Softmax', [logits(b, x)], { axis: -1 });
  const best = b.op('ArgMax', [scores], { axis: -1, keepdims: 0 });
  const chosen = b.op('OneHot', [best, b.ints(experts), b.ints([0, 1])]);
  const place = b.op('Mul', [b.op('CumSum', [chosen, b.ints(-2)], { exclusive: 1 }), chosen]);
  const taken = b.op('Equal', [behind(b, place, -1), counting(b)]);
  const weights = b.op('Mul', [scores, float(b, chosen)]);
  return b.op('Mul', [behind(b, weights, -1), float(b, taken)]);
}

const nonZero = (b: Builder, weights: Value): Value => float(b, cast(b, weights, 9));
const stack = (b: Builder, parts: Value[]): Value =>
  b.op(
    'Concat',
    parts.map((part) => behind(b, part, 0)),
    { axis: 0 },
  );
const oneByOne = (b: Builder, filled: Value): Value =>
  stack(
    b,
    Array.from({ length: experts }, (_, e) => expert(b, b.op('Gather', [filled, b.ints(e)]), e)),
  );
const einsum = (b: Builder, equation: string, ...operands: Value[]): Value =>
  b.op('Einsum', operands, { equation });

/** Slots of all experts laid end to end, as in fairseq. */
const flattened: Part = (b, x) => {
  const tokens = flat(b, x);
  const weights = combineWeights(b, tokens);
  const across = b.op('Transpose', [nonZero(b, weights)], { perm: [1, 2, 0] });
  const filled = b.op('MatMul', [b.op('Reshape', [across, b.ints([experts * slots, -1])]), tokens]);
  const outputs = oneByOne(b, b.op('Reshape', [filled, b.ints([experts, slots, hidden])]));
  const rows = b.op('Reshape', [weights, b.ints([-1, experts * slots])]);
  const sum = b.op('MatMul', [rows, b.op('Reshape', [outputs, b.ints([experts * slots, hidden])])]);
  return b.op('Reshape', [sum, b.op('Shape', [x])]);
};

/** Slots for each sequence. */
const bySequence: Part = (b, x) => {
  const weights = combineWeights(b, x);
  const outputs = oneByOne(b, einsum(b, 'bnec,bnd->ebcd', nonZero(b, weights), x));
  return einsum(b, 'bnec,ebcd->bnd', weights, outputs);
};

describe('experts on slots are weighed by the sum over their slots', () => {
  it.each<[string, Part]>([
    ['laid end to end', flattened],
    ['of each sequence', bySequence],
  ])('%s', async (_what, part) => {
    const model = block(part);
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({
      quantizable: true,
      reason: '',
      boundary: { routing: { kind: 'combine' } },
    });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });
});

/** All tokens of an expert in one place. */
const mixed: Part = (b, x) => {
  const tokens = flat(b, x);
  const weights = combineWeights(b, tokens);
  const outputs = oneByOne(b, einsum(b, 'sec,sm->em', nonZero(b, weights), tokens));
  return b.op('Reshape', [einsum(b, 'sec,em->sm', weights, outputs), b.op('Shape', [x])]);
};

it('slots that hold all tokens of an expert together are refused', () => {
  expect(locate(block(mixed)).layers[0]?.reason).toMatch(/is weighed 0 times by the routing/);
});
