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
  gatheredExperts,
  logits,
  maskedExperts,
  pickedExperts,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const all = (b: Builder, x: Value): [Value, Value] => choose(b, logits(b, x), experts);

const gathered: Part = (b, x) => {
  const tokens = flat(b, x);
  return b.op('Reshape', [gatheredExperts(b, tokens, all(b, tokens)), b.op('Shape', [x])]);
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
