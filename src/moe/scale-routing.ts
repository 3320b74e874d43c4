import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { MoeLayer } from './moe-layer.ts';
import { explicitRouting } from './spell-out-routing.ts';

/** Adds the product of a layer's weights with the number that the graph multiplies its experts' outputs by, if any. */
export function scaleRouting({ graph }: Model, layer: MoeLayer): void {
  const { factor, ...routing } = explicitRouting(layer);
  if (factor === undefined) return;
  const b = builder(graph, `moeq/${layer.id}/router`);
  const typed = b.op('CastLike', [b.constant('factor', 'float32', [], [factor]), routing.weights]);
  const weights = b.op('Mul', [routing.weights, typed], {}, { name: 'scaled' });
  layer.boundary!.routing = { ...routing, weights };
}
