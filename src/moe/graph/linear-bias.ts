import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { Shapes } from './shapes.ts';
import type { StoredView } from './stored-view.ts';
import { storedView } from './stored-view.ts';

/** A stored bias: the axis that runs over outputs, and the one that runs over experts, if any. */
export interface Bias {
  view: StoredView;
  axis: number;
  stackAxis: number | null;
}

/** True for a node that takes its bias as an input of its own. */
export function hasBiasInput({ opType, inputs }: Node): boolean {
  return (opType.endsWith('Gemm') || opType.endsWith('Conv')) && Boolean(inputs[2]);
}

/** Operators that add their second input, alone or before an activation. */
const biasOps = new Set(['Add', 'BiasGelu', 'FastGelu']);
const layout = new Set(['Squeeze', 'Unsqueeze', 'Reshape', 'Identity', 'Cast']);

/**
 * A bias that an Add (or BiasGelu) brings in after `product`, possibly behind a squeeze or reshape. With `isGathered`
 * the bias of each row's expert must be gathered from a stack of `experts` biases.
 */
export function biasAfter(
  product: Value,
  out: number,
  experts: number,
  isGathered: boolean,
  shapes: Shapes,
): { node: Node; output: Value; bias: Bias } | null {
  let value = product;
  for (let hops = 0; hops < 4; hops++) {
    const [use, ...others] = value.uses.filter(({ node }) => node.opType !== 'Shape');
    if (!use || others.length > 0) return null;
    const { node } = use;
    if (layout.has(node.opType) && use.index === 0) {
      value = node.outputs[0]!;
      continue;
    }
    if (!biasOps.has(node.opType)) return null;
    const view = storedView(node.inputs[1 - use.index], shapes);
    const bias = view && biasAxes(view, out, experts, isGathered ? experts : null);
    return bias && { node, output: node.opType === 'Add' ? node.outputs[0]! : value, bias };
  }
  return null;
}

/**
 * Tells which axis of a bias runs over outputs and which over experts; null if it is no bias of such a linear. `gathered`
 * is the size of the stack that it must be gathered from at run time, if it must.
 */
export function biasAxes(
  view: StoredView,
  out: number,
  experts: number,
  gathered: number | null,
): Bias | null {
  const axis = view.axes.findLastIndex(({ size, stride }) => size === out && stride !== null);
  if (axis < 0) return null;
  const others = view.axes.flatMap(({ size, stride }, at) =>
    at !== axis && stride !== null && size !== 1 ? [at] : [],
  );
  if (gathered !== null)
    return view.selector?.size === gathered && others.length === 0 ? { view, axis, stackAxis: null } : null;
  if (view.selector) return null;
  if (others.length === 0) return { view, axis, stackAxis: null };
  return others.length === 1 && view.axes[others[0]].size === experts
    ? { view, axis, stackAxis: others[0] }
    : null;
}
