import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { scalarOf, tensorOf } from '../graph/constant.ts';

/**
 * Takes out what gives what it is given. The graph computes the same afterwards. Returns how many nodes went.
 * - Products with the number one, which TorchScript writes for the `alpha` and `beta` of baddbmm and addmm, and which hide
 *   what stands behind them.
 * - Casts to the type that a value has: ONNX Runtime 1.30 takes them out as well, and fails to load a graph where a norm
 *   `x * (1 / root)` of its own stands behind two of them.
 * - Sums and bounds of one value, and spreads over its own shape: torch.export writes both around the places of a mask.
 */
export function dropIdle(graph: Graph): number {
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

/** What a node leaves as it is; null for one that does not. */
function keptBy(node: Node): Value | null {
  const {
    opType,
    inputs: [first, second],
  } = node;
  if (first && opType === 'Cast') return typeOf(first) === node.int('to') ? first : null;
  if (first && joiningOps.has(opType)) return node.inputs.length === 1 ? first : null;
  if (first && opType === 'Expand') return isShapeOf(second, first) ? first : null;
  if (!first || !second) return null;
  if (isOne(second) && (opType === 'Mul' || opType === 'Div')) return first;
  return isOne(first) && opType === 'Mul' ? second : null;
}

const joiningOps = new Set(['Max', 'Min', 'Sum', 'Mean']);

function isShapeOf(shape: Value | null | undefined, value: Value): boolean {
  const node = shape?.producer;
  return (
    node?.opType === 'Shape' && node.inputs[0] === value && !node.int('start') && !node.attributes.has('end')
  );
}

/** A scalar: whatever has axes may give the product more of them. */
function isOne(value: Value): boolean {
  return tensorOf(value)?.source.shape.length === 0 && scalarOf(value) === 1;
}

/** ONNX's number of an element type; undefined where nothing tells it. */
function typeOf({ dtype, producer }: Value): number | undefined {
  if (producer?.opType === 'Cast') return producer.int('to');
  return dtype && codeOf(dtype);
}
