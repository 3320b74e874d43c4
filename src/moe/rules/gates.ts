import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { shapeOps } from '../graph/operators.ts';

const gateOps = new Set([
  'Sigmoid',
  'HardSigmoid',
  'Relu',
  'Tanh',
  'Softplus',
  'Exp',
  'Equal',
  'Greater',
  'GreaterOrEqual',
]);
const partingOps = new Set([
  'Slice',
  'Split',
  'Gather',
  'GatherElements',
  'NonZero',
  'Unsqueeze',
  'Transpose',
]);

/**
 * Whether a node makes gates that stand for themselves, without any choice among them, as in ReMoE: a function of each
 * logit, whose columns are then taken apart or matched with an axis of experts. The gate of a GLU is not: it multiplies
 * what is as wide as itself.
 */
export function isGate(node: Node, facts: GraphFacts): boolean {
  const [output] = node.outputs;
  if (!gateOps.has(node.opType) || !output) return false;
  const gates = new Set<Value>([output]);
  for (const value of gates) {
    if (gates.size > 32) return false;
    for (const { node: user } of value.uses) {
      if (shapeOps.has(user.opType)) continue;
      if (partingOps.has(user.opType) || isMix(user, facts)) return true;
      const isOwn = user.inputs.every((input) => !input || gates.has(input) || facts.isDataless(input));
      if (isOwn && !facts.linearOf(user)) for (const made of user.outputs) if (made) gates.add(made);
    }
  }
  return false;
}

/** A product of two activations along shared axes, as a weighted sum of all experts is written. */
function isMix(node: Node, facts: GraphFacts): boolean {
  return (node.opType === 'MatMul' || node.opType === 'Einsum') && !facts.linearOf(node);
}
