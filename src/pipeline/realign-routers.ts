import type { GapSums } from '../calibrate/measure-gaps.ts';
import { measureGaps } from '../calibrate/measure-gaps.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { changeRouter } from '../emit/change-router.ts';
import { routerLinear } from '../emit/router-linear.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { opsetOf } from '../onnx/model.ts';
import type { RouterGap } from '../quantize/realign.ts';
import { energyAfter, realignment } from '../quantize/realign.ts';
import type { Report } from '../report/report.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { matrix } from '../tensor/matrix.ts';
import type { Matrix } from '../tensor/matrix.ts';
import type { Progress } from './progress.ts';
import { tryModel } from './try-model.ts';

/** What was decided about one router. All figures are of records that were not fitted. */
export interface RouterRealignment {
  layer: string;
  /** Added to the router's weight [experts, hidden]; null where the router stays as it is. */
  change: Matrix | null;
  /** The ridge λ, as a share of the mean diagonal of X̂ᵀX̂. */
  ridge: number;
  /** What the change leaves of the squared logit error, fed the states that the float routers before it lead to. */
  errorLeft: number;
  /** Top-k agreement with the original router, in the model with all changes that were kept. */
  agreement: { before: number; after: number };
}

/** Strengths of the ridge that are tried. */
const ridges = [1e-4, 1e-3, 1e-2, 1e-1, 1];

/** Every so many records one is held out. */
const heldOutEvery = 4;

/**
 * Realignment of the routers after quantization: each router's weight is corrected in closed form so that, fed the
 * quantized model's own hidden states X̂, its logits come near the original ones. All layers are fitted in one pass over
 * the model as it is, on three quarters of the records; the last quarter chooses the ridge by the logit error
 * and then judges the model with all corrections together: a router that does not choose more of its experts than
 * before loses its correction, until every one left helps.
 * The model is left unchanged; see `applyRealignment`.
 * @throws Fault REALIGN_RECORDS, ROUTER_UNSUPPORTED, and those of running models
 */
export async function realignRouters(
  path: string,
  { model, layers }: { model: Model; layers: readonly MoeLayer[] },
  records: readonly DataRecord[],
  session: SessionOptions,
  progress: Progress,
): Promise<RouterRealignment[]> {
  const heldOut = records.filter((_, i) => i % heldOutEvery === heldOutEvery - 1);
  if (heldOut.length === 0) throw tooFewRecords(records.length);
  const fitted = records.filter((_, i) => i % heldOutEvery !== heldOutEvery - 1);
  progress({ stage: 'realign', detail: `${fitted.length} records, ${heldOut.length} held out` });
  const [sums, heldOutSums] = await sumGaps(path, { model, layers }, [fitted, heldOut], session);
  const candidates: Candidate[] = [];
  for (const [i, layer] of layers.entries()) {
    const best = await bestRidge(gapOf(layer, sums[i]), gapOf(layer, heldOutSums[i]));
    candidates.push({ layer, ...best });
  }
  const decisions = await keepWhatHelps(model, candidates, (candidate) =>
    tryModel(path, candidate, heldOut, session),
  );
  for (const decision of decisions) progress({ stage: 'realign', detail: describe(decision) });
  return decisions;
}

/** Writes the corrections that were kept into the routers of a model. */
export function applyRealignment(
  model: Model,
  layers: readonly MoeLayer[],
  decisions: readonly RouterRealignment[],
): void {
  layers.forEach((layer, i) => {
    const { change } = decisions[i];
    if (change) changeRouter(model, layer, change);
  });
  model.graph.removeDeadCode();
}

async function sumGaps(
  path: string,
  { model, layers }: { model: Model; layers: readonly MoeLayer[] },
  sets: readonly (readonly DataRecord[])[],
  session: SessionOptions,
): Promise<GapSums[][]> {
  const original = prepareModel(path, opsetOf(model));
  const routers = layers.map((layer, i) => ({
    original: routerLinear(original.layers[i]),
    changed: routerLinear(layer),
  }));
  const inputs = declaredInputs(original.model);
  const batches = sets.map((records) => [...makeBatches(records, inputs)]);
  return measureGaps(original.model, model, routers, batches, session);
}

function gapOf({ hidden, router: { experts } }: MoeLayer, { gram, cross, energy }: GapSums): RouterGap {
  return {
    gram: { rows: hidden, cols: hidden, data: gram },
    cross: matrix(hidden, experts, Float32Array.from(cross)),
    energy,
  };
}

interface Candidate {
  layer: MoeLayer;
  change: Matrix;
  ridge: number;
  errorLeft: number;
}

/** The correction whose logit error is least on what was held out. */
async function bestRidge(fitted: RouterGap, heldOut: RouterGap): Promise<Omit<Candidate, 'layer'>> {
  let best: Omit<Candidate, 'layer'> | null = null;
  for (const ridge of ridges) {
    const change = await realignment(fitted, ridge);
    const errorLeft = energyAfter(change, heldOut) / heldOut.energy;
    if (!best || errorLeft < best.errorLeft) best = { change, ridge, errorLeft };
  }
  return best!;
}

/** Tries all corrections together and drops those that do not help, until all that are left do. */
async function keepWhatHelps(
  model: Model,
  candidates: readonly Candidate[],
  measure: (model: Model) => Promise<Report>,
): Promise<RouterRealignment[]> {
  const before = await measure(model);
  const lack = (report: Report, { layer }: Candidate, i: number): number => lackOf(report, i, layer);
  let kept = new Set(candidates.filter((each, i) => each.errorLeft < 1 && lack(before, each, i) > 0));
  for (;;) {
    const after = kept.size > 0 ? await measureWith(kept, model, measure) : before;
    const helping = candidates.filter((each, i) => kept.has(each) && lack(after, each, i) < lack(before, each, i));
    if (helping.length === kept.size)
      return candidates.map((each, i) => decisionOf(each, kept, { before, after }, i));
    kept = new Set(helping);
  }
}

async function measureWith(
  kept: ReadonlySet<Candidate>,
  model: Model,
  measure: (model: Model) => Promise<Report>,
): Promise<Report> {
  const undo = [...kept].map(({ layer, change }) => changeRouter(model, layer, change));
  try {
    return await measure(model);
  } finally {
    for (const takeBack of undo) takeBack();
    model.graph.removeDeadCode();
  }
}

/** How far a router's choice is from the original; where every token visits all experts, how far their weights are. */
function lackOf({ layers }: Report, i: number, { router }: MoeLayer): number {
  const { topKAgreement, weightL1 } = layers[i].router.cumulative;
  return router.topK === null ? weightL1 : 1 - topKAgreement;
}

function decisionOf(
  candidate: Candidate,
  kept: ReadonlySet<Candidate>,
  { before, after }: { before: Report; after: Report },
  i: number,
): RouterRealignment {
  const { layer, change, ridge, errorLeft } = candidate;
  const agreement = {
    before: before.layers[i].router.cumulative.topKAgreement,
    after: after.layers[i].router.cumulative.topKAgreement,
  };
  return { layer: layer.id, change: kept.has(candidate) ? change : null, ridge, errorLeft, agreement };
}

function describe({ layer, change, ridge, errorLeft, agreement: { before, after } }: RouterRealignment): string {
  const figures = `agreement ${before.toFixed(4)} to ${after.toFixed(4)} with all that were kept`;
  return change
    ? `${layer}: corrected (ridge ${ridge}, ${(100 * errorLeft).toFixed(0)} % of the logit error left), ${figures}`
    : `${layer}: left as it is, its correction did not help; ${figures}`;
}

function tooFewRecords(count: number): Fault {
  return new Fault({
    code: 'REALIGN_RECORDS',
    what: `router.realign needs ${heldOutEvery} calibration records or more, not ${count}`,
    why: 'some are held out to judge the correction',
    remedy: 'give more records, or leave out router.realign',
  });
}
