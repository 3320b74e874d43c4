import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { LinearNode } from '../graph/linear-node.ts';
import { stackSize } from '../graph/linear-node.ts';
import { layoutOps } from '../graph/operators.ts';
import type { Rejection } from '../moe-layer.ts';

/** Fewer linears side by side are the projections of an attention. */
const fewest = 4;
const picking = new Set([...layoutOps, 'Gather', 'GatherND', 'Slice', 'Split']);

/** Linears of one shape on one input, or a stack of weights. */
export interface Twins {
  node: string;
  shape: string;
  count: number;
}

/**
 * Linears side by side that look like experts although no router was found for them: as many of one shape on one input,
 * or a stack of weights. Told where nothing else is, so that a model with experts never passes for one without.
 */
export function twins(facts: GraphFacts): Rejection[] {
  return twinsAmong(linearsIn(facts)).map(({ node, shape, count }) => ({
    node,
    reason: `${count} weights of ${shape} stand side by side here, but nothing was found that chooses among them`,
  }));
}

export function linearsIn(facts: GraphFacts): LinearNode[] {
  return facts.nodes.flatMap((node) => facts.linearOf(node) ?? []);
}

/** The groups that are too many to be anything but experts. */
export function twinsAmong(linears: readonly LinearNode[]): Twins[] {
  const groups = Map.groupBy(linears, (linear) => sourceOf(linear.input));
  return [...groups.values()].flatMap((readers) => {
    const shapes = Map.groupBy(readers, shapeOf);
    return [...shapes].flatMap(([shape, alike]) => twinsOf(shape, alike) ?? []);
  });
}

export function shapeOf(linear: Pick<LinearNode, 'out' | 'in'>): string {
  return `${linear.out} by ${linear.in}`;
}

/** What tokens were picked from. */
function sourceOf(value: Value): Value {
  let source = value;
  while (source.producer && picking.has(source.producer.opType) && source.producer.inputs[0])
    source = source.producer.inputs[0];
  return source;
}

function twinsOf(shape: string, alike: readonly LinearNode[]): Twins | null {
  const [{ node }] = alike;
  const weights = new Set(alike.map(({ view }) => `${view.name} ${view.offset}`)).size;
  const count = Math.max(weights, ...alike.map(stackSize));
  return count < fewest ? null : { node: node.name || node.opType, shape, count };
}
