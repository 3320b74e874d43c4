import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { replaceLinear } from './replace-linear.ts';
import { resolveTarget } from './resolve-target.ts';
import { routerLinear } from './router-linear.ts';

/**
 * Writes a layer's router with an 8-bit weight and dynamic 8-bit activations per token: in integer arithmetic, or in
 * standard operators for portable models (target `qdq`). Biases stay in float.
 * @throws Fault ROUTER_UNSUPPORTED
 */
export function emitRouter(
  { graph }: Model,
  layer: MoeLayer,
  weight: QuantizedTensor,
  portable: boolean,
): void {
  const { node, product } = routerLinear(layer);
  const resolved = resolveTarget(portable ? 'qdq' : 'int', 'w8a8', 'channel');
  const logits = replaceLinear(graph, node, weight, { prefix: `moeq/${layer.id}/router`, resolved });
  if (layer.router.logits === product) layer.router.logits = logits;
}
