import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import type { LinearReference } from '../parity-references.ts';
import { linearReference } from '../parity-references.ts';
import { resolveTarget } from '../resolve-target.ts';
import { replaceLinear, storeWeight } from './replace-linear.ts';
import { routerLinear } from './router-linear.ts';

/**
 * Writes a layer's router with an 8-bit weight and dynamic 8-bit activations per token: in integer arithmetic, or in
 * standard operators for portable models (target `qdq`). Biases stay in float.
 * @returns what it must compute, before its bias
 * @throws Fault ROUTER_UNSUPPORTED
 */
export function emitRouter(
  { graph }: Model,
  layer: MoeLayer,
  weight: QuantizedTensor,
  portable: boolean,
): LinearReference {
  const { node, product } = routerLinear(layer);
  const resolved = resolveTarget({ scheme: 'w8a8', target: portable ? 'qdq' : 'int', group: 'channel' });
  const id = `${layer.id}/router`;
  const logits = replaceLinear(graph, node, storeWeight(graph, weight, { prefix: `moeq/${id}`, resolved }));
  if (layer.router.logits === product) layer.router.logits = logits;
  return linearReference(id, weight, resolved);
}
