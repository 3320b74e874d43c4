import type { Model } from '../onnx/model.ts';
import type { Node } from '../onnx/node.ts';
import type { GraphFacts } from './graph/graph-facts.ts';
import { graphFacts } from './graph/graph-facts.ts';
import type { MoeLayer, Rejection } from './moe-layer.ts';
import { simplify } from './rewrite/simplify.ts';
import type { IsAnchor, RouterCandidate } from './rules/anchor.ts';
import { isChoice, routerCandidates } from './rules/anchor.ts';
import { withoutApartColumns } from './rules/apart-columns.ts';
import { refuseInBody } from './rules/bodies.ts';
import type { FoundLayer } from './rules/describe-layer.ts';
import { describeLayer } from './rules/describe-layer.ts';
import { expertBank } from './rules/expert-bank.ts';
import { fusedLayers } from './rules/fused.ts';
import { isGate } from './rules/gates.ts';
import { layerInputs } from './rules/layer-inputs.ts';
import { leftOut } from './rules/left-out.ts';
import { regionLinears } from './rules/levels.ts';
import { growRegion } from './rules/region.ts';
import { twins } from './rules/twins.ts';
import type { Attempt } from './rules/unread-layer.ts';
import { unreadLayer } from './rules/unread-layer.ts';

/** The Mixture-of-Experts layers of a model, and places that looked like one. */
export interface Location {
  /** In graph order. */
  layers: MoeLayer[];
  rejected: Rejection[];
  /** Weights shaped like those of the experts that were found, which belong to no layer: they stay in float. */
  leftOut: Rejection[];
}

/**
 * Finds every Mixture-of-Experts layer of a model, whatever graph form it is written in. Weights are not read;
 * the graph is simplified first, which changes the model but not what it computes.
 *
 * Fused operators are taken as they are. Every other layer is found from its router: a linear whose output reaches a
 * top-k, an arg-max or a softmax, or whose scores are picked by a table, or, where no layer has one, gates of single
 * experts. From the router's input the region of the layer is grown up to the residual addition; linears whose work the
 * routing selects or weighs are its experts.
 */
export function locate(model: Model): Location {
  simplify(model.graph);
  const facts = graphFacts(model.graph);
  const found = { rejected: [] as Rejection[], held: new Set<Node>() };
  const chosen = locateIn(facts, { ...found, isAnchor: isChoice });
  // Gates are everywhere: they are looked at only where nothing else was found.
  const layers = chosen.length > 0 ? chosen : locateIn(facts, { ...found, isAnchor: isGate });
  layers.forEach((layer, index) => {
    layer.id = `L${index}`;
    for (const expert of layer.experts) expert.id = `${layer.id}.E${expert.index}`;
  });
  const rejected = layers.length === 0 ? [...found.rejected, ...twins(facts)] : found.rejected;
  return { layers, rejected: distinct(rejected), leftOut: leftOut(facts, layers, found.held) };
}

function distinct(rejected: readonly Rejection[]): Rejection[] {
  return [...new Map(rejected.map((each) => [`${each.node} ${each.reason}`, each])).values()];
}

interface Search {
  rejected: Rejection[];
  /** Linears of routers and experts of every layer, and those a router chooses among that were not understood. */
  held: Set<Node>;
  isAnchor: IsAnchor;
}

function locateIn(facts: GraphFacts, search: Search): MoeLayer[] {
  const { rejected, held, isAnchor } = search;
  const fused = fusedLayers(facts).map(({ node, layer }) => ({ position: facts.position.get(node)!, layer }));
  const written = routerCandidates(facts, rejected, isAnchor).flatMap((candidate) =>
    tryCandidate(withoutApartColumns(candidate, facts), facts, rejected),
  );
  for (const node of written.flatMap(({ linears, beside }) => [...linears, ...beside])) held.add(node);
  const own = [...fused, ...mergeGates(written)]
    .toSorted((a, b) => a.position - b.position)
    .map(({ layer }) => layer);
  const inner = facts.nodes
    .flatMap(({ innerGraphs }) => innerGraphs)
    .flatMap((each) => locateIn(graphFacts(each, facts), search));
  if (facts.graph.owner) for (const layer of own) refuseInBody(layer, facts.graph);
  return [...own, ...inner];
}

/** The layer behind a router candidate; where nothing shows that there is one, the reason goes to `rejected`. */
function tryCandidate(candidate: RouterCandidate, facts: GraphFacts, rejected: Rejection[]): FoundLayer[] {
  // What stands against experts that were found tells more than where none were.
  const objections: Rejection[] = [];
  const attempts: Attempt[] = [];
  const routers = new Set([candidate.linear.node]);
  for (const input of layerInputs(candidate, facts)) {
    const region = growRegion(input, { ...candidate, routers }, facts);
    const linears = regionLinears(region, facts);
    const result = expertBank(linears, region, facts, candidate.experts);
    if ('bank' in result) {
      const layer = describeLayer({ candidate, region, linears, bank: result.bank, facts });
      if ('position' in layer) return [layer];
      objections.push(layer);
    } else attempts.push({ region, linears, ...result });
  }
  const refused = objections.length > 0 ? null : firstUnread(candidate, attempts, facts);
  if (refused) return [refused];
  const [{ node, reason }] = [...objections, ...attempts];
  rejected.push({ node: candidate.linear.node.name || node, reason });
  return [];
}

function firstUnread(
  candidate: RouterCandidate,
  attempts: readonly Attempt[],
  facts: GraphFacts,
): FoundLayer | null {
  for (const attempt of attempts) {
    const layer = unreadLayer(candidate, attempt, facts);
    if (layer) return layer;
  }
  return null;
}

/** Routers that weigh the same experts make one layer, as in multi-gate mixtures. */
function mergeGates(found: readonly FoundLayer[]): FoundLayer[] {
  const merged: FoundLayer[] = [];
  for (const each of found) {
    const known = merged.find((other) => isSameLayer(each, other));
    if (!known) merged.push(each);
    else if (known.layer.router.logits !== each.layer.router.logits) shareExperts(known.layer);
  }
  return merged;
}

/** Layers that hold the same weights are one only where these work on the same tokens. */
function isSameLayer(one: FoundLayer, other: FoundLayer): boolean {
  const isSame = one.input === other.input || [...one.linears].some((node) => other.linears.has(node));
  return one.weights !== null && one.weights === other.weights && isSame;
}

/** Counts one more router over the same experts: their outputs are then summed more than once. */
function shareExperts(layer: MoeLayer): void {
  layer.routers += 1;
  layer.boundary = null;
  layer.quantizable = false;
  layer.reason = 'several routers share the experts';
}
