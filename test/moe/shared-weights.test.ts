import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { Model } from '../../src/onnx/model.ts';
import { makeModel } from '../helpers/make-model.ts';
import {
  block,
  choose,
  experts,
  hidden,
  logits,
  maskedExperts,
  maskedLayer,
  sharedExperts,
  sum,
} from './helpers/parts.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

async function replayErrors(model: Model): Promise<number[]> {
  const { layers } = locate(model);
  const wanted = layers.flatMap(({ boundary }) => replayValues(boundary!));
  const values = await valuesOf(model, wanted, randomFeeds(model));
  return layers.map((layer) => replayError(layer, values));
}

describe('experts that hold the same weights', () => {
  it.each<[string, (e: number) => number]>([
    ['two of them', (e) => Math.max(e, 1)],
    ['all of them', () => 0],
  ])('%s are written each for itself', async (_which, ofExpert) => {
    const model = block((b, x) => maskedExperts(b, x, choose(b, logits(b, x)), sharedExperts(ofExpert)));
    const [layer] = locate(model).layers;
    expect(layer).toMatchObject({ quantizable: true, reason: '' });
    expect(layer.experts.map(({ index, up }) => [index, up!.name])).toEqual(
      [0, 1, 2, 3].map((e) => [e, `experts.${ofExpert(e)}.up`]),
    );
    expect(Math.max(...(await replayErrors(model)))).toBeLessThan(1e-5);
  });
});

describe('layers that hold the same experts', () => {
  it('are layers of their own where they work on other tokens', async () => {
    const write = sharedExperts();
    const model = makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => ({
      y: maskedLayer(b, maskedLayer(b, stream, write), write),
    }));
    expect(locate(model).layers).toMatchObject([
      { id: 'L0', routers: 1, quantizable: true, reason: '' },
      { id: 'L1', routers: 1, quantizable: true, reason: '' },
    ]);
    expect(Math.max(...(await replayErrors(model)))).toBeLessThan(1e-5);
  });

  it('are one layer of several routers where they work on the same', () => {
    const write = sharedExperts();
    const model = block((b, x) => {
      const gates = [0, 1].map(() => maskedExperts(b, x, choose(b, logits(b, x)), write));
      return sum(b, gates);
    });
    expect(locate(model).layers).toMatchObject([
      { routers: 2, experts: { length: experts }, reason: 'several routers share the experts' },
    ]);
  });
});
