import type { Graph } from '../onnx/graph.ts';
import { readsOf } from '../onnx/graph.ts';
import { madeBy } from '../onnx/made-values.ts';
import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';

/** What leads from the ends of the stage before to its own: a part of a model that can run by itself. */
export interface Stage {
  /** Made in earlier stages and read in this one; graph inputs are not listed. */
  inputs: Value[];
  /** Made in this stage and read in later ones. */
  outputs: Value[];
}

/**
 * Cuts a graph into one stage per set of `ends`, in their order: all that its values depend on and no stage before
 * holds. What nothing of them depends on belongs to none. Every value that crosses a cut is an input of one stage and
 * an output of the one that makes it: the residual stream, and what attention of several layers shares (masks, rotary
 * tables).
 */
export function stagesOf(graph: Graph, ends: readonly (readonly Value[])[]): Stage[] {
  const stageOf = new Map<Node, number>();
  const members = ends.map((values, index) =>
    nodesBehind(graph, values, (node) => !stageOf.has(node) && stageOf.set(node, index)),
  );
  const reads = members.map((nodes, index) => {
    const values = nodes.flatMap(readsOf).filter(({ producer }) => producer?.graph === graph);
    return new Set(values.filter(({ producer }) => stageOf.get(producer!)! < index));
  });
  return members.map((nodes, index) => {
    const later = reads.slice(index + 1);
    return {
      inputs: [...reads[index]],
      outputs: madeBy(nodes).filter((value) => later.some((read) => read.has(value))),
    };
  });
}

/** Nodes of `graph` that values depend on and that `enter` accepts; what it refuses is not looked behind. */
function nodesBehind(graph: Graph, values: readonly Value[], enter: (node: Node) => unknown): Node[] {
  const found: Node[] = [];
  const pending = [...values];
  for (let next = pending.pop(); next; next = pending.pop()) {
    const { producer } = next;
    if (producer?.graph !== graph || !enter(producer)) continue;
    found.push(producer);
    pending.push(...readsOf(producer));
  }
  return found;
}
