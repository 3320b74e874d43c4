import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { scalarOf, tensorOf } from '../graph/constant.ts';

/**
 * Takes out products with the number one, which TorchScript writes for the `alpha` and `beta` of baddbmm and addmm, and
 * which hide what stands behind them. The graph computes the same afterwards. Returns how many went.
 */
export function dropFactors(graph: Graph): number {
  const dropped = new Set<Node>();
  for (const node of graph.nodes) {
    const kept = keptBy(node);
    const [output] = node.outputs;
    if (!kept || !output || graph.outputs.includes(output)) continue;
    graph.replaceAllUses(output, kept);
    dropped.add(node);
  }
  graph.nodes = graph.nodes.filter((node) => !dropped.has(node));
  for (const node of dropped) node.detach();
  return dropped.size;
}

/** What a product with one leaves as it is; null for any other node. */
function keptBy({ opType, inputs: [first, second] }: Node): Value | null {
  if (!first || !second) return null;
  if (isOne(second) && (opType === 'Mul' || opType === 'Div')) return first;
  return isOne(first) && opType === 'Mul' ? second : null;
}

/** A scalar: whatever has axes may give the product more of them. */
function isOne(value: Value): boolean {
  return tensorOf(value)?.source.shape.length === 0 && scalarOf(value) === 1;
}
