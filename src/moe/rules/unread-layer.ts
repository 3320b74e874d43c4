import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { MoeLayer, Rejection, Router } from '../moe-layer.ts';
import type { RouterCandidate } from './anchor.ts';
import type { FoundLayer } from './describe-layer.ts';
import { differences } from './expert-keys.ts';
import type { RegionLinear } from './levels.ts';
import { meetingOf } from './meeting.ts';
import type { Region } from './region.ts';
import { fromRouter } from './region.ts';
import { describedRouter, readRouter } from './scoring.ts';

/** What was tried for a router whose experts could not be put together. */
export interface Attempt extends Rejection {
  region: Region;
  linears: readonly RegionLinear[];
}

/**
 * The layer behind a router that chooses among linears which make no experts that are known, so that it is refused and not
 * left in float without a word. Null where nothing ties the linears to columns of the router, as in models that
 * choose among something else and go on with what they chose.
 */
export function unreadLayer(
  candidate: RouterCandidate,
  attempt: Attempt,
  facts: GraphFacts,
): FoundLayer | null {
  const { region, linears, reason } = attempt;
  const routed = linears.filter(({ isRouted }) => isRouted);
  const router = readRouter(candidate, region, facts, candidate.experts);
  const isTied = router.topK === null ? areWeighed : areChosen;
  if (!isTied(routed, region, candidate.experts)) return null;
  return {
    position: facts.position.get(candidate.linear.node)!,
    weights: null,
    linears: new Set(routed.map(({ node }) => node)),
    beside: new Set([candidate.linear.node]),
    input: region.input,
    layer: refused(describedRouter(router), candidate.linear.in, reason),
  };
}

type IsTied = (routed: readonly RegionLinear[], region: Region, columns: number) => boolean;

/** Whether linears read, or are weighed by, what tells columns of the router apart, or are picked from a stack by it. */
const areChosen: IsTied = (routed, region, columns) => {
  const bits = (value: Value): number => region.colour.get(value) ?? 0;
  const isPicked = routed.some(({ view }) => view.selector && bits(view.selector.index) & fromRouter);
  const first = routed.filter(({ origins, isBeyond }) => origins.length === 0 && !isBeyond);
  const inputs = new Set(first.map(({ input }) => input));
  return isPicked || differences([...inputs], region, columns).length > 0 || areTold(routed, region, columns);
};

/** Where all count for every token, branches of one linear are no experts (selective kernels, pyramids). */
const areWeighed: IsTied = (routed, region, columns) =>
  areTold(
    routed.filter(({ origins }) => origins.length > 0),
    region,
    columns,
  );

const areTold: IsTied = (routed, region, columns) => {
  const weights = new Set(
    routed.flatMap(({ output }) => meetingOf(output, region)?.routing.slice(0, 1) ?? []),
  );
  return differences([...weights], region, columns).length > 0;
};

function refused(router: Router, hidden: number, reason: string): MoeLayer {
  return {
    id: '',
    form: 'loop',
    router,
    routers: 1,
    experts: [],
    hidden,
    intermediate: 0,
    gated: false,
    activation: { name: 'unknown', alpha: 1, limit: null, upOffset: 0 },
    shared: null,
    norm: null,
    boundary: null,
    complete: false,
    quantizable: false,
    reason,
    warnings: [],
  };
}
