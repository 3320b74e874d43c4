import type { Graph } from './graph.ts';
import type { Node } from './node.ts';
import type { Value } from './value.ts';

/** What nodes make; an output may be left out. */
export function madeBy(nodes: readonly Node[]): Value[] {
  return nodes.flatMap(({ outputs }) => outputs).filter((value) => value !== null);
}

/** What the nodes of a graph make, by name. */
export function madeValues({ nodes }: Graph): Map<string, Value> {
  return new Map(madeBy(nodes).map((value) => [value.name, value]));
}
