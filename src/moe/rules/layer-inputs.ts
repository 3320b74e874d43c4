import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasesOf, aliasOps, aliasRoot } from '../graph/operators.ts';
import type { RouterCandidate } from './anchor.ts';

/** How far the search goes, and how many values are tried. */
const searched = 96;
const tried = 8;

/**
 * Values that may be the input of the layer, nearest first: what the router reads and, for routers behind a pool, an
 * MLP or a norm of their own, what that was made from. The input of a layer has more than one reader.
 */
export function layerInputs(candidate: RouterCandidate, facts: GraphFacts): Value[] {
  const inputs = new Set([candidate.x]);
  for (const value of inputs) {
    for (const input of value.producer?.inputs ?? []) {
      if (input && !facts.isDataless(input) && inputs.size < searched) inputs.add(aliasRoot(input));
    }
  }
  return [...inputs].filter((value) => value === candidate.x || readersOf(value).length > 1).slice(0, tried);
}

/** What reads a value, whatever renames, reshapes or retypes it before. */
function readersOf(value: Value): Node[] {
  const nodes = new Set([...aliasesOf(value)].flatMap((alias) => alias.consumers));
  return [...nodes].filter(({ opType }) => !aliasOps.has(opType));
}
