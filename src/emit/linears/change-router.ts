import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import { makeTensor } from '../../onnx/tensor.ts';
import { encodeNumbers } from '../../tensor/encode.ts';
import type { Matrix } from '../../tensor/matrix.ts';
import { transpose } from '../../tensor/matrix.ts';
import { readMatrix } from '../../tensor/view.ts';
import { routerLinear } from './router-linear.ts';

/**
 * Adds `change` [experts, hidden] to the weight of a layer's router, in a constant of its own (others may share the old
 * one) of the same element type. Returns what takes the change back; `removeDeadCode` then clears up.
 * @throws Fault ROUTER_UNSUPPORTED
 */
export function changeRouter({ graph }: Model, layer: MoeLayer, change: Matrix): () => void {
  const { node, constant, view } = routerLinear(layer);
  const weight = readMatrix(view);
  change.data.forEach((value, i) => (weight.data[i] += value));
  // As the node itself reads it: what stands between it and the old constant is left out.
  const { rows, cols, data } = node.int('transB') ? weight : transpose(weight);
  const { dtype } = view.source;
  const bytes = encodeNumbers(data, dtype);
  const before = node.inputs[1];
  node.setInput(1, graph.addConstant(makeTensor(`${constant.name}_realigned`, dtype, [rows, cols], bytes)));
  return () => node.setInput(1, before);
}
