import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, experts, hidden, k, logits, maskedExperts, sum, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const apart = 2;

const cut = (b: Builder, table: Value, from: number, to: number): Value =>
  b.op('Slice', [table, b.ints([from]), b.ints([to]), b.ints([-1])]);

/** Shared experts on every token, each times a column of `gammas` before its last linear. */
function weighedShared(b: Builder, x: Value, gammas: Value): Value {
  const outputs = Array.from({ length: apart }, (_, e) => {
    const up = b.op('Relu', [b.op('MatMul', [x, weight(b, `shared.${e}.up`, [hidden, width])])]);
    const weighed = b.op('Mul', [up, cut(b, gammas, e, e + 1)]);
    return b.op('MatMul', [weighed, weight(b, `shared.${e}.down`, [width, hidden])]);
  });
  return sum(b, outputs);
}

/** Chosen by sigmoids of the first columns, weighed by a softmax over what was chosen and all columns beyond (Inkling). */
const jointly: Part = (b, x) => {
  const all = logits(b, x, experts + apart);
  const [own, others] = b.ops(2, 'Split', [all, b.ints([experts, apart])], { axis: -1 });
  const [, indices] = b.ops(2, 'TopK', [b.op('Sigmoid', [own]), b.ints([k])]);
  const taken = b.op('Concat', [b.op('GatherElements', [own, indices], { axis: -1 }), others], { axis: -1 });
  const shares = b.op('Softmax', [taken], { axis: -1 });
  const routed = maskedExperts(b, x, [cut(b, shares, 0, k), indices]);
  return b.op('Add', [routed, weighedShared(b, x, cut(b, shares, k, k + apart))]);
};

/** Weighed by sigmoids, each by its own. */
const separately: Part = (b, x) => {
  const all = logits(b, x, experts + apart);
  const own = cut(b, all, 0, experts);
  const [shares, indices] = b.ops(2, 'TopK', [b.op('Sigmoid', [own]), b.ints([k])]);
  const gammas = cut(b, b.op('Sigmoid', [all]), experts, experts + apart);
  return b.op('Add', [maskedExperts(b, x, [shares, indices]), weighedShared(b, x, gammas)]);
};

describe('columns of a router that weigh shared experts are none of its choices', () => {
  it.each([
    ['weighed with the chosen ones', jointly],
    ['weighed by themselves', separately],
  ])('%s', async (_how, part) => {
    const model = block(part);
    const { layers } = locate(model);
    expect(layers).toHaveLength(1);
    const [layer] = layers;
    expect(layer).toMatchObject({
      complete: true,
      quantizable: true,
      reason: '',
      router: { experts, topK: k },
    });
    expect(layer.experts.map(({ up }) => up!.name)).not.toContain('shared.0.up');
    expect(layer.router.linear).toBeNull();
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });
});
