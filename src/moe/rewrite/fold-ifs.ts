import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { Shapes } from '../graph/shapes.ts';

/**
 * Replaces every If whose condition follows from shapes by the branch that is taken. TorchScript writes such an If for
 * each `squeeze` of an axis whose size it does not know. The graph computes the same afterwards. Returns how many went.
 */
export function foldIfs(graph: Graph, shapes: Shapes): number {
  const folded = graph.nodes.filter((node) => node.opType === 'If' && takeBranch(graph, node, shapes));
  if (folded.length === 0) return 0;
  const gone = new Set(folded);
  graph.nodes = graph.nodes.filter((node) => !gone.has(node));
  for (const node of folded) node.detach();
  return folded.length;
}

function takeBranch(graph: Graph, node: Node, shapes: Shapes): boolean {
  const condition = shapes.integersOf(node.inputs[0]);
  if (condition?.length !== 1 || condition[0] === null) return false;
  const [branch] = node.subgraphs.get(condition[0] ? 'then_branch' : 'else_branch') ?? [];
  if (!branch || branch.constants.size > 0 || branch.nodes.some(({ subgraphs }) => subgraphs.size > 0))
    return false;
  const copies = new Map<Value, Value>();
  const copyOf = (value: Value | null): Value | null => (value && copies.get(value)) ?? value;
  for (const inner of branch.sortedNodes()) {
    const copy = graph.addNode(inner.opType, inner.inputs.map(copyOf), {
      name: inner.name,
      domain: inner.domain,
      attributes: [...inner.attributes.values()],
      outputs: inner.outputs.map((value) => value?.name ?? inner.opType),
    });
    for (const [name, tensor] of inner.tensors) copy.tensors.set(name, tensor);
    inner.outputs.forEach((value, at) => value && copies.set(value, copy.outputs[at]!));
  }
  node.outputs.forEach((output, at) => output && graph.replaceAllUses(output, copyOf(branch.outputs[at])!));
  return true;
}
