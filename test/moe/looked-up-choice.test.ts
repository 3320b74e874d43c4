import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Builder } from '../../src/onnx/build.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { makeModel } from '../helpers/make-model.ts';
import {
  experts,
  flat,
  gatheredExperts,
  hidden,
  k,
  logits,
  maskedExperts,
  norm,
  pickedExperts,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const vocabulary = 16;

type Choice = [weights: Value, indices: Value];
type Experts = (b: Builder, tokens: Value, chosen: Choice) => Value;

/** Two experts for each token id. */
function lookUp(b: Builder, ids: Value): Value {
  const table = Array.from({ length: vocabulary }, (_, id) => [id % experts, (3 * id + 1) % experts]);
  const rows = b.constant('experts_of', 'int64', [vocabulary, k], table.flat());
  return b.op('Gather', [rows, b.op('Reshape', [ids, b.ints([-1])])]);
}

/** A layer whose experts are looked up by token ids, and weighed by the scores that its router gives them. */
function hashLayer(score: string, write: Experts): Model {
  const inputs = {
    x: ['float32', ['batch', 'sequence', hidden]],
    ids: ['int64', ['batch', 'sequence']],
  } as const;
  return makeModel(inputs, (b, stream, ids) => {
    const tokens = flat(b, norm(b, stream));
    const indices = lookUp(b, ids);
    const picked = b.op('GatherElements', [b.op(score, [logits(b, tokens)]), indices], { axis: -1 });
    const sum = b.op('ReduceSum', [picked, b.ints([-1])], { keepdims: 1 });
    const routed = write(b, tokens, [b.op('Div', [picked, sum]), indices]);
    return { y: b.op('Add', [stream, b.op('Reshape', [routed, b.op('Shape', [stream])])]) };
  });
}

describe.each([
  ['Sigmoid', 'sigmoid'],
  ['Softmax', 'softmax'],
  ['Softplus', 'unknown'],
])('experts that a table gives each token id, weighed by %s', (score, scoring) => {
  it.each<[string, Experts]>([
    ['gathered', gatheredExperts],
    ['masked', maskedExperts],
    ['picked', pickedExperts],
  ])('and %s are a layer', async (_way, write) => {
    const model = hashLayer(score, write);
    const { layers } = locate(model);
    expect(layers).toMatchObject([
      {
        quantizable: true,
        reason: '',
        router: { experts, topK: k, scoring, renormalized: true, bias: false },
        boundary: { routing: { kind: 'topk', k } },
      },
    ]);
    const values = await valuesOf(model, replayValues(layers[0].boundary!), randomFeeds(model, vocabulary));
    expect(replayError(layers[0], values)).toBeLessThan(1e-5);
  });
});
