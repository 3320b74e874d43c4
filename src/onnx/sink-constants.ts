import type { Graph } from './graph.ts';
import { readsOf } from './graph.ts';
import { madeBy } from './made-values.ts';
import { Node } from './node.ts';
import type { Value } from './value.ts';

/**
 * Moves into a subgraph the nodes of the graph around it that follow from constants alone and that nothing else reads. The
 * constants stay outside.
 */
export function sinkConstants(inner: Graph): void {
  const outer = inner.parent!;
  const moved = new Set<Node>();
  const pending = inner.nodes.flatMap(readsOf);
  for (let value = pending.pop(); value; value = pending.pop()) {
    const { producer } = value;
    if (producer?.graph !== outer || !isMadeOfConstants(value) || !isReadInside(producer, inner)) continue;
    pending.push(...producer.inputs.filter((input) => input !== null));
    move(producer, inner);
    moved.add(producer);
  }
  outer.nodes = outer.nodes.filter((node) => !moved.has(node));
}

/** True for a constant, and for what nodes without subgraphs make of constants. */
function isMadeOfConstants({ tensor, producer }: Value): boolean {
  if (tensor) return true;
  if (!producer || producer.subgraphs.size > 0 || producer.inputs.length === 0) return false;
  return producer.inputs.every((input) => input === null || isMadeOfConstants(input));
}

function isReadInside(node: Node, inner: Graph): boolean {
  return madeBy([node]).every(
    (value) =>
      !node.graph.outputs.includes(value) && value.uses.every((use) => isWithin(use.node.graph, inner)),
  );
}

function isWithin(graph: Graph, inner: Graph): boolean {
  for (let each: Graph | null = graph; each; each = each.parent) if (each === inner) return true;
  return false;
}

/** Gives the outputs of a node to one like it in another graph. */
function move(node: Node, graph: Graph): void {
  const copy = new Node(graph, node.proto, [...node.attributes.values()], [...node.outputs]);
  for (const [name, tensor] of node.tensors) copy.tensors.set(name, tensor);
  node.inputs.forEach((value, index) => copy.setInput(index, value));
  node.detach();
  graph.nodes.push(copy);
}
