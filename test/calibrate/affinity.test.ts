import { describe, expect, test } from 'vitest';
import { calibrate } from '../../src/calibrate/calibrate.ts';
import type { LayerStats } from '../../src/calibrate/layer-stats.ts';
import type { Batch } from '../../src/data/batches.ts';
import type { Feed } from '../../src/data/model-input.ts';
import type { Routing } from '../../src/moe/moe-layer.ts';
import { builder } from '../../src/onnx/build.ts';
import type { Graph } from '../../src/onnx/graph.ts';
import { feedsOf, randomRoutes } from '../emit/run-layer.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';

const tokens = 30;

async function statsOf(appliesTo: 'output' | 'input', affinity: boolean, sign = 1): Promise<LayerStats> {
  const { model, layer, spec } = syntheticLayer({ appliesTo });
  if (sign < 0) negate(layer.boundary!.routing, model.graph);
  // The statistics ask for logits; these routes are given.
  layer.router.logits = model.graph.inputs.find(({ name }) => name === 'x')!;
  layer.router.experts = spec.hidden;
  const routes = randomRoutes(spec, tokens);
  const feeds = feedsOf(spec, gaussian(tokens, spec.hidden, 9), routes) as Record<string, Feed>;
  const batch: Batch = { feeds, valid: null, records: [0], lengths: [tokens], batch: 1, sequence: tokens };
  const [stats] = await calibrate(() => ({ model, layers: [layer], leftOut: [] }), [batch], {
    gram: true,
    affinity,
  });
  return stats;
}

/** Turns the sign of all routing weights. */
function negate(routing: Routing, graph: Graph): void {
  if (routing.kind !== 'logits') routing.weights = builder(graph, 'test').op('Neg', [routing.weights]);
}

describe('affinity', () => {
  test("weighs each token's part of XᵀX and of the mean by its routing weight, and nothing else", async () => {
    const { spec } = syntheticLayer();
    const [plain, weighed] = [await statsOf('output', false), await statsOf('output', true)];
    const x = gaussian(tokens, spec.hidden, 9);
    const routes = randomRoutes(spec, tokens);
    weighed.experts.forEach((expert, e) => {
      expect(expert.tokens).toBe(plain.experts[e].tokens);
      expect(expert.input.absMax).toEqual(plain.experts[e].input.absMax);
      const expected = new Float64Array(spec.hidden ** 2);
      const sum = new Float64Array(spec.hidden);
      let mass = 0;
      routes.forEach((route, t) => {
        const weight = route.get(e) ?? 0;
        const row = x.data.subarray(t * spec.hidden, (t + 1) * spec.hidden);
        mass += weight;
        row.forEach((value, i) => (sum[i] += weight * value));
        for (let i = 0; i < row.length; i++)
          for (let j = 0; j < row.length; j++) expected[i * row.length + j] += weight * row[i] * row[j];
      });
      expert.input.gram!.forEach((value, i) => expect(value).toBeCloseTo(expected[i], 3));
      expect(expert.mass).toBeCloseTo(mass, 4);
      expect(plain.experts[e].mass).toBe(expert.tokens);
      expert.inputMean.forEach((value, i) => expect(value * mass).toBeCloseTo(sum[i], 4));
      expect(expert.hidden.gram).not.toEqual(plain.experts[e].hidden.gram);
    });
  });

  test('is the same where a router weighs with the other sign', async () => {
    expect(await statsOf('output', true, -1)).toEqual(await statsOf('output', true));
  });

  test('is in X already where routing weights multiply the input', async () => {
    expect(await statsOf('input', true)).toEqual(await statsOf('input', false));
  });
});
