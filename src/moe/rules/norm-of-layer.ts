import type { Node } from '../../onnx/node.ts';
import type { Boundary, Norm } from '../moe-layer.ts';
import type { Evidence } from './describe-layer.ts';
import { linearsOf } from './expert-bank.ts';
import { normOf } from './norm.ts';
import { isOwnLinear } from './scoring.ts';
import type { FoundShared } from './shared-expert.ts';

/**
 * The norm before the layer; where router and experts have one each on the same stream, as in Gemma 4, that of the
 * experts.
 */
export function normOfLayer(
  evidence: Evidence,
  shared: readonly FoundShared[],
  boundary: Boundary | string,
): Norm | null {
  const {
    region: { input },
    facts,
  } = evidence;
  const readers = inputReaders(evidence, shared);
  const common = normOf(input, readers, facts);
  if (typeof boundary === 'string' || boundary.input === input) return common;
  const own = normOf(boundary.input, readers, facts);
  return own && (own.input === input || own.input === common?.input) ? own : common;
}

/**
 * Linears of the record that may read the layer's input: router, first linears of the experts, the shared expert. Only
 * those whose weights are plain numbers can make up for what is folded into the norm.
 */
function inputReaders({ candidate, bank, facts }: Evidence, shared: readonly FoundShared[]): Set<Node> {
  const firsts = linearsOf(bank.branches).filter(({ origins }) => origins.length === 0);
  const router = isOwnLinear(candidate) ? [candidate.linear.node] : [];
  const nodes = [...router, ...firsts.map(({ node }) => node), ...(shared[0]?.readers ?? [])];
  return new Set(nodes.filter((node) => facts.linearOf(node)?.view.numbers === 'plain'));
}
