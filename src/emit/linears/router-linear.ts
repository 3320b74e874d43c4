import { Fault } from '../../fault.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { MatrixView } from '../../tensor/view.ts';
import { linearView, weightConstant } from './plain-linear.ts';

/** The product that makes a router's logits, as it stands in the graph now. */
export interface RouterLinear {
  node: Node;
  /** What it multiplies: [..., hidden]. */
  input: Value;
  /** [..., experts], before any bias of a later node. */
  product: Value;
  /** The stored weight, and how [experts, hidden] lies in it. */
  constant: Value;
  view: MatrixView;
}

/**
 * The linear of a layer's router, with whatever was folded into its weight so far.
 * @throws Fault ROUTER_UNSUPPORTED naming the layer and why its router is no plain linear
 */
export function routerLinear(layer: MoeLayer): RouterLinear {
  const found = findRouterLinear(layer);
  if (typeof found === 'string') throw unsupported(layer.id, found);
  return found;
}

/** The same, or the reason why the router is no plain linear. */
export function findRouterLinear({ router }: MoeLayer): RouterLinear | string {
  if (!router.linear) return 'no linear makes its logits and nothing else';
  const { node } = router.linear;
  const constant = weightConstant(node);
  if (!constant) return `its ${node.opType} is no MatMul or Gemm that reads a stored weight on its right`;
  const view = linearView(node, constant);
  if (typeof view === 'string') return view;
  return { node, input: node.inputs[0]!, product: node.outputs[0]!, constant, view };
}

function unsupported(layer: string, why: string): Fault {
  return new Fault({
    code: 'ROUTER_UNSUPPORTED',
    what: `the router of layer ${layer} cannot be quantized or realigned`,
    where: `layer ${layer}`,
    why,
    remedy: 'leave out router.bits and router.realign',
  });
}
