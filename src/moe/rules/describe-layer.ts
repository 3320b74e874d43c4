import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { Boundary, Expert, MoeLayer, Rejection, Router } from '../moe-layer.ts';
import type { RouterCandidate } from './anchor.ts';
import { boundaryOf } from './boundary.ts';
import { dispatchForm } from './dispatch-form.ts';
import type { ExpertBank } from './expert-bank.ts';
import { isPlain, linearsOf } from './expert-bank.ts';
import type { RegionLinear } from './levels.ts';
import { normOfLayer } from './norm-of-layer.ts';
import type { Region } from './region.ts';
import { describedRouter, readRouter } from './scoring.ts';
import { sharedExperts } from './shared-expert.ts';
import { beyondExperts } from './simple-experts.ts';
import { frozenTokens } from './token-source.ts';

/** A layer and where its router stands in the graph. */
export interface FoundLayer {
  position: number;
  /** Which weights its experts hold (null where they could not be put together), and the nodes that multiply by them. */
  weights: string | null;
  linears: ReadonlySet<Node>;
  /** The router's linear and the first ones of shared experts. */
  beside: ReadonlySet<Node>;
  /** What the layer was grown from. */
  input: Value;
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
  const choice = readRouter(candidate, region, facts, bank.experts.length);
  const router = describedRouter(choice);
  const objection = objectionTo(evidence, router);
  if (objection) return { node: candidate.linear.node.name, reason: objection };
  const shared = sharedExperts(linears, region, facts);
  const found = boundaryOf(evidence, choice);
  const { simple, boundary } = beyondExperts(evidence, router, found);
  const experts = numberExperts(bank, simple);
  const reasons = reasonsAgainst(evidence, experts.length, router, boundary);
  const layer: MoeLayer = {
    id: '',
    form: hasSlots(boundary) ? 'capacity' : dispatchForm(evidence, router),
    router,
    routers: 1,
    experts,
    hidden: bank.hidden,
    intermediate: bank.intermediate,
    gated: bank.branches[0].gate !== null,
    activation: bank.activation,
    shared: shared[0]?.shared ?? null,
    norm: normOfLayer(evidence, shared, boundary),
    boundary: typeof boundary === 'string' ? null : boundary,
    complete: experts.length === router.experts,
    quantizable: reasons.length === 0,
    reason: reasons.join('; '),
    warnings: warningsAbout(evidence, experts.length, router, boundary, shared.length),
  };
  const weights = bank.branches.map(({ down }) => `${down.view.name} ${down.view.offset}`).join();
  const position = facts.position.get(candidate.linear.node)!;
  const nodes = new Set(linearsOf(bank.branches).map(({ node }) => node));
  const beside = new Set([candidate.linear.node, ...shared.flatMap(({ readers }) => readers)]);
  return { position, weights, linears: nodes, beside, input: region.input, layer };
}

function hasSlots(boundary: Boundary | string): boolean {
  return typeof boundary !== 'string' && boundary.routing.kind === 'combine';
}

/** What shows that the branches are no experts; null if nothing does. */
function objectionTo({ candidate, bank }: Evidence, { experts, topK }: Router): string | null {
  const count = bank.experts.length;
  if (count > experts) return `it has ${experts} columns for ${count} experts`;
  if (topK === null && count < experts)
    return `nothing is selected, yet ${experts} columns weigh ${count} branches`;
  const own = new Set(linearsOf(bank.branches).map(({ node }) => node));
  if (descendsFrom(candidate.linear.input, own))
    return 'it reads what the branches compute: a fusion of features, not a choice among experts';
  const isSingle = bank.experts[0].down === null;
  if (isSingle && topK === null && count < 3)
    return 'what it weighs are single linears, too few to be experts';
  return null;
}

/** Why the layer cannot be written anew. */
function reasonsAgainst(
  { linears, bank }: Evidence,
  held: number,
  router: Router,
  boundary: Boundary | string,
): string[] {
  const reasons: string[] = [];
  if (held < router.experts) reasons.push(`the file holds ${held} of ${router.experts} experts`);
  const [{ down }] = bank.branches;
  if (bank.experts[0].down && down.out !== bank.hidden)
    reasons.push(`its experts read ${bank.hidden} channels and give ${down.out}`);
  if (linears.some(({ isSwapped }) => isSwapped))
    reasons.push('the shapes of its weights do not fit: ONNX Runtime refuses such a file');
  if (bank.experts.some(({ key }) => key === null)) reasons.push(...bank.warnings);
  if (bank.problem) reasons.push(bank.problem);
  else if (bank.activation.name === 'unknown')
    reasons.push('the function between the first linears and the last is not a known activation');
  if (typeof boundary === 'string') reasons.push(boundary);
  return reasons;
}

/** What the user should know of the file whatever is done with the layer. */
function warningsAbout(
  { bank }: Evidence,
  held: number,
  router: Router,
  boundary: Boundary | string,
  shared: number,
): string[] {
  const warnings = [...bank.warnings];
  if (held < router.experts) warnings.push(lossWarning(bank, held, router.experts));
  else if (bank.isHitList) warnings.push('the file runs only for inputs that reach all of its experts');
  if (boundary === frozenTokens) warnings.push(boundary);
  if (shared > 1) warnings.push(`it has ${shared} shared experts, of which one is described`);
  return warnings;
}

function lossWarning({ isStacked }: ExpertBank, held: number, columns: number): string {
  return isStacked
    ? `its router has ${columns} columns for ${held} experts: what the others do was not understood`
    : `the file holds ${held} of the ${columns} experts its router chooses from: it computes wrong results for inputs that need the others`;
}

/** Whether a value is made, within a few steps, from the output of one of `sources`. */
function descendsFrom(value: Value, sources: ReadonlySet<Node>): boolean {
  const pending: { value: Value; depth: number }[] = [{ value, depth: 0 }];
  for (const { value: each, depth } of pending) {
    const node = each.producer;
    if (node && sources.has(node)) return true;
    if (depth === 8 || pending.length > 64) continue;
    for (const input of node?.inputs ?? []) if (input) pending.push({ value: input, depth: depth + 1 });
  }
  return false;
}

/** Experts in the order of the router's columns; in the order of the file where their columns are not known. */
function numberExperts({ experts, branches }: ExpertBank, simple: readonly Expert[]): Expert[] {
  const hidden = isPlain(branches) ? {} : { gate: null, up: null, down: null };
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
