import type { Value } from '../onnx/value.ts';
import type { RouterCandidate } from './anchor.ts';
import type { GraphFacts } from './graph-facts.ts';
import { aliasRoot } from './operators.ts';

const climbLimit = 8;

/**
 * Values that may be the input of the layer, nearest first: what the router reads and, for routers behind a pool, an
 * MLP or a norm of their own, what that was made from.
 */
export function layerInputs(candidate: RouterCandidate, facts: GraphFacts): Value[] {
  const inputs = [candidate.x];
  for (const value of inputs) {
    if (inputs.length > climbLimit) break;
    for (const input of value.producer?.inputs ?? []) {
      if (!input || facts.isDataless(input)) continue;
      const root = aliasRoot(input);
      if (!inputs.includes(root)) inputs.push(root);
    }
  }
  return inputs.slice(0, climbLimit);
}
