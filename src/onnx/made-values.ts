import type { Graph } from './graph.ts';
import type { Value } from './value.ts';

/** What the nodes of a graph make, by name. */
export function madeValues(graph: Graph): Map<string, Value> {
  const made = graph.nodes.flatMap(({ outputs }) => outputs).filter((value) => value !== null);
  return new Map(made.map((value) => [value.name, value]));
}
