import { describe, expect, it } from 'vitest';
import { applyActivation, emitActivation } from '../../src/emit/activation.ts';
import type { Activation } from '../../src/moe/moe-layer.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { makeModel } from '../helpers/make-model.ts';
import { randomFeeds, valuesOf } from '../moe/helpers/run-model.ts';

const plain = { alpha: 1, limit: null, upOffset: 0 };
const activations: Record<string, Activation> = {
  silu: { ...plain, name: 'silu' },
  'silu of a cut gate': { name: 'silu', alpha: 1.702, limit: 0.8, upOffset: 1 },
  'silu cut afterwards': { ...plain, name: 'capped-silu', limit: 0.8 },
  relu2: { ...plain, name: 'relu2' },
};

describe.each(Object.entries(activations))(
  'the nodes of %s compute what their twin does',
  (_, activation) => {
    it.each([true, false])('with a gate: %s', async (isGated) => {
      const shape = ['float32', ['n', 6]] as const;
      const model = makeModel({ gate: shape, up: shape }, (b, gate, up) => ({
        hidden: emitActivation(b, activation, isGated ? gate : null, up),
      }));
      const feeds = randomFeeds(model);
      const [gate, up] = model.graph.inputs.map(({ name }) => matrix(2, 6, feeds[name].data as Float32Array));
      const { data } = applyActivation(activation, isGated ? gate : null, up);
      const [hidden] = model.graph.outputs;
      const values = (await valuesOf(model, [hidden], feeds)).get(hidden)!;
      data.forEach((value, at) => expect(values[at]).toBeCloseTo(value, 5));
    });
  },
);
