import type { Graph } from './graph.ts';
import { madeBy } from './made-values.ts';
import type { Value } from './value.ts';

/**
 * Makes sure that a graph can be read again: that all it reads is an input, a constant, or made by one of its nodes or
 * by those around it.
 * @throws Error, as only a defect of ours leaves such a graph
 */
export function requireDefined(graph: Graph, around: ReadonlySet<Value> = new Set()): void {
  const defined = new Set([...around, ...graph.inputs, ...graph.constants, ...madeBy(graph.nodes)]);
  for (const node of graph.nodes) {
    for (const value of node.inputs) if (value && !defined.has(value)) throw undefinedValue(value, node.name);
    for (const inner of node.innerGraphs) requireDefined(inner, defined);
  }
  for (const value of graph.outputs) if (!defined.has(value)) throw undefinedValue(value, 'the graph');
}

function undefinedValue({ name }: Value, reader: string): Error {
  return new Error(`${reader} reads ${name}, which nothing defines`);
}
