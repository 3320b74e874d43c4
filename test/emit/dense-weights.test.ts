import { expect, it } from 'vitest';
import { denseWeights } from '../../src/emit/dispatch-tokens.ts';
import { makeModel } from '../helpers/make-model.ts';
import { randomFeeds, valuesOf } from '../moe/helpers/run-model.ts';

const [experts, slots] = [4, 5];

it.each([
  ['all tokens', [6]],
  ['each record', [2, 3]],
])('weights of the slots that %s share are added up by expert and token', async (_, tokens) => {
  const model = makeModel({ weights: ['float32', [...tokens, experts, slots]] }, (b, weights) => ({
    dense: denseWeights(b, { kind: 'combine', weights, appliesTo: 'output' }, experts),
  }));
  const feeds = randomFeeds(model);
  const given = feeds['weights'].data as Float32Array;
  const [dense] = model.graph.outputs;
  const found = (await valuesOf(model, [dense], feeds)).get(dense)!;
  expect(found).toHaveLength(6 * experts);
  for (let e = 0; e < experts; e++)
    for (let t = 0; t < 6; t++) {
      const at = (t * experts + e) * slots;
      const sum = given.subarray(at, at + slots).reduce((total, each) => total + each, 0);
      expect(found[e * 6 + t]).toBeCloseTo(sum, 5);
    }
});
