import { summedAxis } from '../graph/axes.ts';
import type { Boundary, Router } from '../moe-layer.ts';
import type { Combination } from './combine.ts';
import { combination } from './combine.ts';
import type { Evidence } from './describe-layer.ts';
import { routingOf } from './routing-of.ts';
import { tokenSource } from './token-source.ts';

/**
 * The values between which a layer can be written anew. Every step from the experts to the output must be understood;
 * otherwise the result is the reason why not.
 */
export function boundaryOf(evidence: Evidence, router: Router): Boundary | string {
  const combined = combination(evidence, router.topK);
  if (typeof combined === 'string') return combined;
  const source = tokenSource(evidence);
  if (typeof source === 'string') return source;
  const problem = sumProblem(combined, evidence, router);
  if (problem) return problem;
  const routing = routingOf(combined, source, evidence, router);
  return typeof routing === 'string' ? routing : { input: source.value, output: combined.output, routing };
}

/** Sums must run over the choices of a token, or over all experts. */
function sumProblem({ sums }: Combination, { facts }: Evidence, router: Router): string | null {
  for (const node of sums) {
    const dims = facts.shapes.shapeOf(node.inputs[0]);
    const axis = dims && summedAxis(node, dims.length);
    const size = axis === null || !dims ? null : dims.at(axis);
    if (size === null || (size !== router.topK && size !== router.experts))
      return `${node.name} sums over an axis that is neither choices nor experts`;
  }
  return null;
}
