import type { Node } from '../onnx/node.ts';
import type { Value } from '../onnx/value.ts';
import type { RouterCandidate } from './anchor.ts';
import { boundaryOf } from './boundary.ts';
import { dispatchForm } from './dispatch-form.ts';
import type { ExpertBank } from './expert-bank.ts';
import { isQuantized } from './expert-bank.ts';
import type { GraphFacts } from './graph-facts.ts';
import type { RegionLinear } from './levels.ts';
import type { Expert, MoeLayer, Rejection } from './moe-layer.ts';
import { normOf } from './norm.ts';
import type { Region } from './region.ts';
import { readRouter } from './scoring.ts';
import { simpleExperts } from './simple-experts.ts';
import type { FoundShared } from './shared-expert.ts';
import { sharedExperts } from './shared-expert.ts';

/** A layer and where its router stands in the graph. */
export interface FoundLayer {
  position: number;
  layer: MoeLayer;
}

/** Everything that is known of a layer once its experts are found. */
export interface Evidence {
  candidate: RouterCandidate;
  region: Region;
  linears: readonly RegionLinear[];
  bank: ExpertBank;
  facts: GraphFacts;
}

/** Turns the evidence into the record, or says why it is no MoE layer after all. */
export function describeLayer(evidence: Evidence): FoundLayer | Rejection {
  const { candidate, region, linears, bank, facts } = evidence;
  const router = readRouter(candidate, region, facts, bank.experts.length);
  const count = bank.experts.length;
  const node = candidate.linear.node.name;
  if (count > router.experts)
    return { node, reason: `it has ${router.experts} columns for ${count} experts` };
  if (router.topK === null && count < router.experts)
    return { node, reason: `nothing is selected, yet ${router.experts} columns weigh ${count} branches` };
  const own = new Set(
    bank.branches
      .flatMap(({ down, up, gate }) => [down, ...up.linears, ...(gate?.linears ?? [])])
      .map((each) => each.node),
  );
  if ([...own].some((each) => descends(candidate.linear.input, each)))
    return {
      node,
      reason: 'it reads what the branches compute: a fusion of features, not a choice among experts',
    };
  const isSingle = bank.experts[0].down === null;
  if (isSingle && router.topK === null && (count !== router.experts || count < 3))
    return { node, reason: 'what it weighs are single linears, too few to be experts' };
  const shared = sharedExperts(linears, region, facts);
  const simple = count < router.experts ? simpleExperts(evidence) : [];
  const complete = count + simple.length === router.experts;
  const known = inputReaders(evidence, shared);
  const reasons: string[] = [];
  const warnings = [...bank.warnings];
  if (!complete) {
    reasons.push(`the file holds ${count + simple.length} of ${router.experts} experts`);
    warnings.push(lossWarning(bank, count + simple.length, router.experts));
  }
  if (linears.some(({ isSwapped }) => isSwapped))
    reasons.push('the shapes of its weights do not fit: ONNX Runtime refuses such a file');
  if (bank.experts.some(({ key }) => key === null)) reasons.push(...bank.warnings);
  if (bank.problem) reasons.push(bank.problem);
  else if (bank.activation.name === 'unknown')
    reasons.push('the function between the first linears and the last is not a known activation');
  if (bank.isHitList && complete)
    warnings.push('the file runs only for inputs that reach all of its experts');
  const boundary = boundaryOf(evidence, router);
  if (typeof boundary === 'string') reasons.push(boundary);
  if (typeof boundary === 'string' && boundary.includes('wrong results')) warnings.push(boundary);
  const form = dispatchForm(evidence, router);
  const layer: MoeLayer = {
    id: '',
    form,
    router,
    routers: 1,
    experts: numberExperts(bank, simple),
    hidden: bank.hidden,
    intermediate: bank.intermediate,
    gated: bank.branches[0].gate !== null,
    activation: bank.activation,
    shared: shared[0]?.shared ?? null,
    norm: normOf(region.input, known, facts),
    boundary: typeof boundary === 'string' ? null : boundary,
    complete,
    quantizable: reasons.length === 0,
    reason: reasons.join('; '),
    warnings,
  };
  return { position: facts.position.get(candidate.linear.node)!, layer };
}

function lossWarning({ isStacked }: ExpertBank, held: number, columns: number): string {
  return isStacked
    ? `its router has ${columns} columns for ${held} experts: what the others do was not understood`
    : `the file holds ${held} of the ${columns} experts its router chooses from: it computes wrong results for inputs that need the others`;
}

/** Linears of the layer that may read its input: router, first linears of the experts, shared experts. */
function inputReaders({ candidate, linears, bank }: Evidence, shared: readonly FoundShared[]): Set<Node> {
  const firsts = bank.branches.flatMap(({ up, gate }) => [...up.linears, ...(gate?.linears ?? [])]);
  // Layers of a router that is a small network, and projections that all experts read through.
  const before = linears.filter(({ node, isRouted }) => !isRouted && descends(candidate.linear.input, node));
  const shareds = shared.flatMap(({ readers }) => readers);
  return new Set([
    candidate.linear.node,
    ...[...firsts, ...firsts.flatMap(({ origins }) => origins), ...before].map(({ node }) => node),
    ...shareds,
  ]);
}

/** Whether a value is made from the output of `source` within a few steps. */
function descends(value: Value, source: Node): boolean {
  const pending: { value: Value; depth: number }[] = [{ value, depth: 0 }];
  for (const { value: each, depth } of pending) {
    if (each.producer === source) return true;
    if (depth < 8)
      for (const input of each.producer?.inputs ?? [])
        if (input && pending.length < 64) pending.push({ value: input, depth: depth + 1 });
  }
  return false;
}

/** Experts in the order of the router's columns; in the order of the file where their columns are not known. */
function numberExperts({ experts, branches }: ExpertBank, simple: readonly Expert[]): Expert[] {
  const hidden = isQuantized(branches) ? { gate: null, up: null, down: null } : {};
  return experts
    .map(({ key, gate, up, down }, position): Expert => ({
      id: '',
      index: key ?? position,
      kind: 'ffn',
      gate,
      up,
      down,
      ...hidden,
    }))
    .concat(simple)
    .toSorted((a, b) => a.index - b.index);
}
