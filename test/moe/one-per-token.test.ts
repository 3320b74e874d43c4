import { expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import { block, expert, experts, flat, logits, scalar, scatter } from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const overTokens = (b: Builder, opType: string, scores: Value): Value =>
  b.op(opType, [scores, ...(opType === 'ArgMax' ? [] : [b.ints([-1])])], {
    keepdims: 0,
    ...(opType === 'ArgMax' ? { axis: -1 } : {}),
  });

/** Each token's largest column alone, whose expert's output is written to its row and weighed in the end (switch). */
const layer =
  (weigh: (b: Builder, largest: Value, scores: Value) => Value): Part =>
  (b, x) => {
    const tokens = flat(b, x);
    const scores = b.op('Softmax', [logits(b, tokens)], { axis: -1 });
    const best = overTokens(b, 'ArgMax', scores);
    const write = (total: Value, e: number): Value => {
      const places = b.op('NonZero', [b.op('Equal', [best, b.ints(e)])]);
      const rows = b.op('Squeeze', [places, b.ints([0])]);
      return scatter('none')(b, total, rows, expert(b, b.op('Gather', [tokens, rows]), e));
    };
    const zeros = b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
    const outputs = Array.from({ length: experts }, (_, e) => e).reduce(write, zeros);
    const weight = weigh(b, overTokens(b, 'ReduceMax', scores), scores);
    const weighed = b.op('Mul', [outputs, b.op('Unsqueeze', [weight, b.ints([-1])])]);
    return b.op('Reshape', [weighed, b.op('Shape', [x])]);
  };

it.each<[string, Parameters<typeof layer>[0]]>([
  ['as it is', (_b, largest) => largest],
  ['over itself', (b, largest) => b.op('Div', [largest, largest])],
  ['changed by numbers', (b, largest) => b.op('Mul', [b.op('Sqrt', [largest]), scalar(b, 0.5)])],
])('the largest score weighs the expert of each token: %s', async (_what, weigh) => {
  const model = block(layer(weigh));
  const { layers } = locate(model);
  expect(layers).toMatchObject([
    { quantizable: true, reason: '', boundary: { routing: { kind: 'topk', k: 1 } } },
  ]);
  const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model));
  expect(replayError(layers[0], values)).toBeLessThan(1e-5);
});

it('anything else of a token is no weight of its expert', () => {
  const smallest = layer((b, largest, scores) => b.op('Add', [largest, overTokens(b, 'ReduceMin', scores)]));
  expect(locate(block(smallest)).layers[0]?.reason).toMatch(/is no table of 1 weights per token/);
});
