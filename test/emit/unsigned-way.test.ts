import { expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { quantizeByRtn } from './expert-twin.ts';
import { pretendProcessor } from './pretend-processor.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

/** A layer with 8-bit weights so small that no processor saturates: two products of 64 and 255 fit into 16 bits. */
function written(): [Model, LayerSpec] {
  const { model, layer, spec } = syntheticLayer({ hidden: 40, intermediate: 24, opset: 21 });
  const resolved = resolveTarget({ scheme: 'w8a8', target: 'int' });
  const weightsOf = (expert: (typeof layer.experts)[number]) => {
    const weights = quantizeByRtn(expert, resolved);
    for (const linear of [weights.gate!, weights.up, weights.down])
      linear.weight.codes = linear.weight.codes.map((code) => Math.trunc(code / 2));
    return weights;
  };
  emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf }));
  model.graph.removeDeadCode();
  return [model, spec];
}

test.each(['disabled', 'all'] as const)(
  'signed and unsigned weights give the same numbers, to the bit (optimization: %s)',
  async (optimization) => {
    const [model, spec] = written();
    const feeds = feedsOf(spec, gaussian(6, 40, 5), randomRoutes(spec, 6));
    const results = [];
    for (const saturates of [true, false]) {
      pretendProcessor(model, saturates, 2);
      results.push((await runOnce(model, feeds, { optimization, threads: 1 }))['y'].data);
    }
    expect(Math.max(...results[0])).toBeGreaterThan(0);
    expect(results[0]).toEqual(results[1]);
  },
);
