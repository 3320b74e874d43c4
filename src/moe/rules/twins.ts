import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { LinearNode } from '../graph/linear-node.ts';
import { stackSize } from '../graph/linear-node.ts';
import { layoutOps } from '../graph/operators.ts';
import type { Rejection } from '../moe-layer.ts';

/** Fewer linears side by side are the projections of an attention. */
const fewest = 4;
const picking = new Set([...layoutOps, 'Gather', 'GatherND', 'Slice', 'Split']);

/**
 * Linears side by side that look like experts although no router was found for them: as many of one shape on one input,
 * or a stack of weights. Told where nothing else is, so that a model with experts never passes for one without.
 */
export function twins(facts: GraphFacts): Rejection[] {
  const linears = facts.nodes.flatMap((node) => facts.linearOf(node) ?? []);
  const groups = Map.groupBy(linears, (linear) => sourceOf(linear.input));
  return [...groups.values()].flatMap((readers) => {
    const shapes = Map.groupBy(readers, (linear) => `${linear.out} by ${linear.in}`);
    return [...shapes].flatMap(([shape, alike]) => rejectionOf(shape, alike) ?? []);
  });
}

/** What tokens were picked from. */
function sourceOf(value: Value): Value {
  let source = value;
  while (source.producer && picking.has(source.producer.opType) && source.producer.inputs[0])
    source = source.producer.inputs[0];
  return source;
}

function rejectionOf(shape: string, alike: readonly LinearNode[]): Rejection | null {
  const [{ node }] = alike;
  const weights = new Set(alike.map(({ view }) => `${view.name} ${view.offset}`)).size;
  const count = Math.max(weights, ...alike.map(stackSize));
  if (count < fewest) return null;
  const reason = `${count} weights of ${shape} stand side by side here, but nothing was found that chooses among them`;
  return { node: node.name || node.opType, reason };
}
