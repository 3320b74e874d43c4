import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  choose,
  experts,
  hidden,
  maskedExperts,
  maskedLayer,
  scalar,
  weight,
  width,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

function modelWith(scores: Part): Model {
  return block((b, x) => maskedExperts(b, x, choose(b, scores(b, x))));
}

function unit(b: Builder, x: Value, axis: number): Value {
  const length = b.op('ReduceL2', [x, b.ints([axis])]);
  return b.op('Div', [x, b.op('Clip', [length, scalar(b, 1e-12)])]);
}

/** As in Swin-MoE and Tutel: the cosine between a projected token and each column, by a temperature. */
const cosine: Part = (b, x) => {
  const projected = b.op('MatMul', [x, weight(b, 'projection', [hidden, 6])]);
  const columns = unit(b, weight(b, 'similarity', [6, experts]), 0);
  return b.op('Div', [b.op('MatMul', [unit(b, projected, -1), columns]), scalar(b, 0.1)]);
};

/** Columns of length one, on the tokens themselves. */
const unitColumns: Part = (b, x) =>
  b.op('MatMul', [x, unit(b, weight(b, 'similarity', [hidden, experts]), 0)]);

const codes: Part = (b, x) => {
  const stored = b.constant(
    'codes',
    'int8',
    [hidden, experts],
    Array.from({ length: hidden * experts }, (_, i) => ((i * 37) % 101) - 50),
  );
  return b.op('MatMul', [x, b.op('DequantizeLinear', [stored, scalar(b, 0.02)])]);
};

function onlyLayer(model: Model): MoeLayer {
  const { layers } = locate(model);
  expect(layers).toHaveLength(1);
  return layers[0];
}

describe('a router whose weight is no plain constant', () => {
  it.each([
    ['cosine', cosine],
    ['unit columns', unitColumns],
    ['8-bit codes', codes],
  ])(
    '%s: the experts are found, and nothing is folded that it could not make up for',
    async (_what, scores) => {
      const model = modelWith(scores);
      const layer = onlyLayer(model);
      expect(layer).toMatchObject({ quantizable: true, router: { linear: null, experts, topK: 2 } });
      expect(layer.norm).toMatchObject({
        foldable: false,
        reason: expect.stringContaining('no plain linear'),
      });
      const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
      expect(replayError(layer, values)).toBeLessThan(1e-5);
    },
  );
});

it('experts whose weights the graph computes are found, and refused with the reason', () => {
  const model = makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => ({
    y: maskedLayer(b, stream, (inner, x, e) => {
      const adapter = inner.op('MatMul', [
        weight(inner, `a.${e}`, [hidden, 2]),
        weight(inner, `b.${e}`, [2, width]),
      ]);
      const up = inner.op('Add', [weight(inner, `up.${e}`, [hidden, width]), adapter]);
      const middle = inner.op('Relu', [inner.op('MatMul', [x, up])]);
      return inner.op('MatMul', [middle, weight(inner, `down.${e}`, [width, hidden])]);
    }),
  }));
  expect(onlyLayer(model)).toMatchObject({
    quantizable: false,
    reason: 'the graph computes the weights of its experts: fold the constants first',
  });
});
