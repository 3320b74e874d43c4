import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Value } from '../../src/onnx/value.ts';
import type { Part } from './helpers/parts.ts';
import {
  block,
  choose,
  experts,
  flat,
  hidden,
  logits,
  maskedExperts,
  pickedExperts,
  weight,
  width,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const all = (b: Builder, x: Value): [Value, Value] => choose(b, logits(b, x), experts);

/** Every choice of a token on weights gathered from stacks, [tokens, choices, ...]. */
const gathered: Part = (b, x) => {
  const tokens = flat(b, x);
  const [weights, indices] = all(b, tokens);
  const pick = (name: string, shape: number[]): Value => b.op('Gather', [weight(b, name, shape), indices]);
  const rows = b.op('Reshape', [tokens, b.ints([-1, 1, hidden, 1])]);
  const up = b.op('Relu', [b.op('MatMul', [pick('up', [experts, width, hidden]), rows])]);
  const down = b.op('Squeeze', [b.op('MatMul', [pick('down', [experts, hidden, width]), up]), b.ints([-1])]);
  const weighed = b.op('Mul', [down, b.op('Unsqueeze', [weights, b.ints([-1])])]);
  return b.op('Reshape', [b.op('ReduceSum', [weighed, b.ints([1])], { keepdims: 0 }), b.op('Shape', [x])]);
};

const picked: Part = (b, x) => {
  const tokens = flat(b, x);
  return b.op('Reshape', [pickedExperts(b, tokens, all(b, tokens)), b.op('Shape', [x])]);
};

describe('a choice of all experts', () => {
  it.each<[string, Part]>([
    ['rows are picked by', picked],
    ['experts are masked by', (b, x) => maskedExperts(b, x, all(b, x))],
    ['weights are gathered by', gathered],
  ])('that %s gives its weights in its own order', async (_way, part) => {
    const model = block(part);
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({
      quantizable: true,
      reason: '',
      router: { topK: null },
      boundary: { routing: { kind: 'topk', k: experts } },
    });
    const values = await valuesOf(model, replayValues(layer.boundary!), randomFeeds(model));
    expect(replayError(layer, values)).toBeLessThan(1e-5);
  });
});
