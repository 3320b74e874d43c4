import { expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { quantizeByRtn } from './expert-twin.ts';

test.each([
  ['int', 'w4a4', 4.3],
  ['int', 'ternary-a8', 2.3],
  ['qdq', 'w4a4', 4.3],
  ['qdq', 'ternary', 2.3],
  ['nbits', 'w4a16', 4.3],
  ['nbits', 'ternary', 2.3],
  ['qmoe', 'w4a16', 4.3],
  ['qmoe', 'ternary', 2.3],
  ['packed', 'ternary', 1.85],
] as const)('%s %s takes at most %f bits per expert weight, scales included', (target, scheme, limit) => {
  const { model, layer } = syntheticLayer({ hidden: 512, intermediate: 192, experts: 2 });
  const resolved = resolveTarget({ scheme, target });
  const weightsOf = (expert: (typeof layer.experts)[number]) => quantizeByRtn(expert, resolved);
  emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf, fewRowsAbove: 0 }));
  model.graph.removeDeadCode();
  const bytes = [...model.graph.constants].reduce((sum, { tensor }) => sum + tensor!.source.byteLength, 0);
  const weights = layer.experts.length * 3 * 512 * 192;
  // Everything the layer stores counts: also zero points and the small constants of the graph.
  expect((bytes * 8) / weights).toBeLessThanOrEqual(limit);
});
