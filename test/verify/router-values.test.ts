import { expect, test } from 'vitest';
import type { RoutingForm } from '../../src/moe/spell-out-routing.ts';
import type { RunTensor } from '../../src/runtime/session.ts';
import { openSession, toFloats } from '../../src/runtime/session.ts';
import { routerValues } from '../../src/verify/router-values.ts';
import { makeModel } from '../helpers/make-model.ts';

/** Three tokens, two experts. */
const expected = [0.5, 0, 0.25, 0.75, 0, 1];

function float(dims: number[], data: number[]): RunTensor {
  return { dtype: 'float32', dims, data: Float32Array.from(data) };
}

test.each([
  ['dense-last', float([3, 2], expected)],
  ['dense-first', float([2, 3], [0.5, 0.25, 0, 0, 0.75, 1])],
  // Two slots an expert.
  ['combine', float([3, 2, 2], [0, 0.5, 0, 0, 0.25, 0, 0.75, 0, 0, 0, 0, 1])],
] satisfies [RoutingForm, RunTensor][])(
  'weights of the form %s are read token by token',
  async (form, weights) => {
    const inputs = { logits: ['float32', [3, 2]], weights: ['float32', weights.dims] } as const;
    const model = makeModel(inputs, (b, logits, raw) => {
      const read = routerValues(b, { logits, indices: null, weights: raw, form, k: null }, 2);
      expect(read.indices).toBeNull();
      return { weightsByToken: read.weights, logitsByToken: read.logits };
    });
    const session = await openSession(model);
    try {
      const logits = float([3, 2], [1, 2, 3, 4, 5, 6]);
      const results = await session.run({ logits, weights });
      expect([...toFloats(results['weightsByToken'])]).toEqual(expected);
      expect([...toFloats(results['logitsByToken'])]).toEqual([1, 2, 3, 4, 5, 6]);
    } finally {
      await session.release();
    }
  },
);
