import { describe, expect, it } from 'vitest';
import { equationOf } from '../../src/moe/graph/einsum.ts';
import { locate } from '../../src/moe/locate.ts';
import { splitEinsums } from '../../src/moe/rewrite/split-einsums.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import { choose, experts, hidden, logits, norm, weight, width } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

/** Shares of all experts, zero for those that were not chosen: [tokens, experts]. */
function sharesOf(b: Builder, x: Value): Value {
  const [weights, indices] = choose(b, logits(b, x));
  const none = b.op('ConstantOfShape', [b.op('Shape', [logits(b, x)])]);
  return b.op('ScatterElements', [none, indices, weights], { axis: -1 });
}

/** Down linear and weighing in one Einsum. */
function weighedDown(equation: string, order: (shares: Value, inner: Value, down: Value) => Value[]): Model {
  return makeModel({ x: ['float32', ['tokens', hidden]] }, (b, stream) => {
    const x = norm(b, stream);
    const up = b.op('Einsum', [x, weight(b, 'up', [experts, hidden, width])], { equation: 'td,edf->tef' });
    const operands = order(sharesOf(b, x), b.op('Relu', [up]), weight(b, 'down', [experts, width, hidden]));
    return { y: b.op('Add', [stream, b.op('Einsum', operands, { equation })]) };
  });
}

describe('an Einsum that multiplies by a weight and weighs the product', () => {
  it.each([
    ['te,tef,efh->th', weighedDown('te,tef,efh->th', (shares, inner, down) => [shares, inner, down])],
    ['tef,efh,te->th', weighedDown('tef,efh,te->th', (shares, inner, down) => [inner, down, shares])],
  ])('%s is read as two', async (_equation, model) => {
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ form: 'dense', quantizable: true, complete: true, intermediate: width });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });

  it('computes the same before and after', async () => {
    const model = weighedDown('te,tef,efh->th', (shares, inner, down) => [shares, inner, down]);
    const feeds = randomFeeds(model);
    const [output] = model.graph.outputs;
    const before = await valuesOf(model, [output], feeds);
    expect(splitEinsums(model.graph)).toBe(1);
    const after = await valuesOf(model, model.graph.outputs, feeds);
    Array.from(before.get(output)!).forEach((value, at) =>
      expect([...after.values()][0][at]).toBeCloseTo(value, 4),
    );
  });
});

it('an Einsum of three activations, or of two constants, stays', () => {
  const model = makeModel({ x: ['float32', ['tokens', hidden]] }, (b, x) => {
    const [left, right] = ['left', 'right'].map((name) => weight(b, name, [hidden, hidden]));
    return {
      y: b.op('Einsum', [x, x, x], { equation: 'td,td,td->t' }),
      z: b.op('Einsum', [x, left, right], { equation: 'ta,ab,bc->tc' }),
    };
  });
  expect(splitEinsums(model.graph)).toBe(0);
  expect(model.graph.nodes.map((node) => equationOf(node)!.operands.length)).toEqual([3, 3]);
});
