import type { Graph } from './graph.ts';

/**
 * Remembers a graph; what is returned takes away what it was given since, and nothing else: what is dead now may be read
 * again later.
 */
export function additionsTo(graph: Graph): () => void {
  const [inputs, nodes, constants] = [[...graph.inputs], new Set(graph.nodes), new Set(graph.constants)];
  return () => {
    graph.inputs = inputs;
    for (const node of graph.nodes) if (!nodes.has(node)) node.detach();
    graph.nodes = graph.nodes.filter((node) => nodes.has(node));
    for (const value of graph.constants) if (!constants.has(value)) graph.constants.delete(value);
  };
}
