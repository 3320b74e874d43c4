import type { QuantizeConfig } from '../../config/schema.ts';
import type { DataRecord } from '../../data/record.ts';
import { findRouterLinear, routerLinear } from '../../emit/linears/router-linear.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import { movesRouters, schemeOf } from '../../quantize/scheme.ts';
import { needsRecords } from '../needs-records.ts';
import type { Progress } from '../progress.ts';
import { sessionOptions } from '../run-options.ts';
import type { Workshop } from '../workshop.ts';
import type { WrittenModel } from '../write-experts.ts';
import { holdOut } from './hold-out.ts';
import type { RouterClip } from './quantize-routers.ts';
import { chooseRouterClips, quantizeRouters } from './quantize-routers.ts';
import type { RouterRealignment } from './realign-router.ts';
import { applyRealignment, realignRouters } from './realign-routers.ts';

/** What became of the routers, one entry per layer; null for what the config does not ask for. */
export interface RouterOutcome {
  realignment: RouterRealignment[] | null;
  clips: RouterClip[] | null;
}

/** Realigns the routers of a model whose experts are written, then takes them to 8 bits, as far as the config asks. */
export async function settleRouters(
  path: string,
  { model, layers: written }: Pick<WrittenModel, 'model' | 'layers'>,
  records: readonly DataRecord[],
  config: QuantizeConfig,
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Promise<RouterOutcome> {
  const session = sessionOptions(config);
  const layers = written.map(({ layer }) => layer);
  const outcome: RouterOutcome = { realignment: null, clips: null };
  if (isToRealign(config, layers, records.length)) {
    progress({ stage: 'realign', detail: `${layers.length} routers, ${records.length} records` });
    outcome.realignment = await workshop.remember('realign', () =>
      realignRouters(path, { model, layers }, records, session),
    );
    for (const decision of outcome.realignment) progress({ stage: 'realign', detail: describe(decision) });
    applyRealignment({ model, layers }, outcome.realignment);
  }
  if (config.router.bits !== null) {
    outcome.clips = await workshop.remember('router', () =>
      chooseRouterClips(model, layers, records, session),
    );
    for (const { layer, ratio } of outcome.clips)
      progress({ stage: 'router', detail: `${layer}: 8 bits, clipped at ${ratio} of the largest weight` });
    quantizeRouters(
      model,
      written.map(({ reference }) => reference),
      outcome.clips,
    );
  }
  return outcome;
}

/** Fewer records do not tell a router that chooses better from luck. */
const recordsWorthwhile = 64;

/** `auto` realigns where hidden states change much, every router can be changed, and records can judge. */
export function isToRealign(config: QuantizeConfig, layers: readonly MoeLayer[], records: number): boolean {
  const { realign } = config.router;
  return realign === 'auto'
    ? wouldRealign(config) && whyNotRealigned(config, layers, records) === null
    : realign;
}

function wouldRealign(config: QuantizeConfig): boolean {
  return movesRouters(schemeOf(config.scheme)) && needsRecords(config);
}

/** Why `auto` leaves routers alone whose hidden states change much; null where it does not. */
export function whyNotRealigned(
  config: QuantizeConfig,
  layers: readonly MoeLayer[],
  records: number,
): string | null {
  if (config.router.realign !== 'auto' || !wouldRealign(config)) return null;
  if (records < recordsWorthwhile)
    return `it takes ${recordsWorthwhile} records to judge, and there are ${records}`;
  for (const layer of layers) {
    const found = findRouterLinear(layer);
    if (typeof found === 'string') return `the router of ${layer.id} cannot be changed: ${found}`;
  }
  return null;
}

/**
 * Whether routers can be settled as a config asks, told before anything is quantized.
 * @throws Fault ROUTER_UNSUPPORTED, REALIGN_RECORDS
 */
export function requireRouters(
  { router }: QuantizeConfig,
  layers: readonly MoeLayer[],
  records: readonly DataRecord[],
): void {
  if (router.realign === true || router.bits !== null) layers.forEach(routerLinear);
  if (router.realign === true) holdOut(records);
}

function describe({ layer, ridge, agreement: { before, after } }: RouterRealignment): string {
  const done = ridge === null ? 'left as it is, no correction helped' : `corrected, ridge ${ridge}`;
  return `${layer}: ${done}; top-k agreement ${before.toFixed(4)} before, ${after.toFixed(4)} after`;
}
