import { measureGaps } from '../calibrate/measure-gaps.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { changeRouter } from '../emit/change-router.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { floatExperts } from '../emit/float-experts.ts';
import { routerLinear } from '../emit/router-linear.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { opsetOf } from '../onnx/model.ts';
import { realignment } from '../quantize/realign.ts';
import type { RouterGap } from '../quantize/realign.ts';
import type { LayerReport, Report } from '../report/report.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { matrix } from '../tensor/matrix.ts';
import type { Matrix } from '../tensor/matrix.ts';
import { tryModel } from './try-model.ts';

/** What was decided about one router. */
export interface RouterRealignment {
  layer: string;
  /** Added to the router's weight [experts, hidden]; null where it stays as it is. */
  change: Matrix | null;
  /** The ridge λ of the change, as a share of the mean diagonal. */
  ridge: number | null;
  /** Top-k agreement with the original router on the records held out, without and with all changes that were kept. */
  agreement: { before: number; after: number };
}

/** A quantized model and where its layers are. */
interface Routed {
  model: Model;
  layers: readonly MoeLayer[];
}

/** Strengths of the ridge that are tried, the strongest first: it is taken where others do no better. */
const ridges = [1e-1, 1e-2, 1e-3];

/** Every so many records one is held out, … */
const heldOutEvery = 4;
/** … until there are so many: they tell two models apart. */
const heldOutMost = 128;

/** How many of so many records are held out. */
export function recordsHeldOut(records: number): number {
  return Math.min(heldOutMost, Math.floor(records / heldOutEvery));
}

/** Runs over the records held out: without changes, with those of each ridge, and about twice with what is chosen. */
export const realignmentTrials = 1 + ridges.length + 2;

/**
 * Realignment of the routers after quantization: each router's weight is corrected in closed form so that, fed the
 * quantized model's own hidden states, its logits come near the original ones, above all where the choice is a close one.
 * All layers are fitted at once, on the model with its routers as they are. Records that were held out decide, by the
 * top-k agreement of the model with all corrections together: first which ridge suits a layer, then whether its
 * correction stays. One that does not help is dropped, until all that are left do.
 * The model is left as it is; see `applyRealignment`.
 * @throws Fault REALIGN_RECORDS, ROUTER_UNSUPPORTED, and those of running models
 */
export async function realignRouters(
  path: string,
  quantized: Routed,
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<RouterRealignment[]> {
  const { fitted, heldOut } = split(records);
  const gaps = await gapsOf(path, quantized, fitted, session);
  const measure = (changes: readonly (Matrix | null)[]): Promise<Report> =>
    withChanges(quantized, changes, () => tryModel(path, quantized.model, heldOut, session));
  const before = await measure([]);
  const trials: Trial[] = [];
  for (const ridge of ridges) {
    const changes: Matrix[] = [];
    for (const gap of gaps) changes.push(await realignment(gap, ridge));
    trials.push({ ridge, changes, report: await measure(changes) });
  }
  const chosen = quantized.layers.map((layer, i) => bestFor(i, layer, before, trials));
  const after = await keepWhatHelps(quantized.layers, chosen, before, measure);
  return quantized.layers.map(({ id }, i) => ({
    layer: id,
    change: chosen[i]?.changes[i] ?? null,
    ridge: chosen[i]?.ridge ?? null,
    agreement: { before: agreementOf(before, i), after: agreementOf(after, i) },
  }));
}

/** Writes the changes that were kept into the routers of a model. */
export function applyRealignment({ model, layers }: Routed, decisions: readonly RouterRealignment[]): void {
  layers.forEach((layer, i) => {
    const { change } = decisions[i];
    if (change) changeRouter(model, layer, change);
  });
  model.graph.removeDeadCode();
}

function split(records: readonly DataRecord[]): { fitted: DataRecord[]; heldOut: DataRecord[] } {
  const isHeldOut = (i: number): boolean =>
    i % heldOutEvery === heldOutEvery - 1 && i < heldOutEvery * heldOutMost;
  if (records.length < heldOutEvery) throw tooFewRecords(records.length);
  return {
    fitted: records.filter((_, i) => !isHeldOut(i)),
    heldOut: records.filter((_, i) => isHeldOut(i)),
  };
}

async function gapsOf(
  path: string,
  { model, layers }: Routed,
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<RouterGap[]> {
  const original = prepareModel(path, opsetOf(model));
  const routers = layers.map((layer, i) => {
    const { router } = original.layers[i];
    return {
      original: routerLinear(original.layers[i]),
      logits: router.logits,
      topK: router.topK,
      changed: routerLinear(layer),
    };
  });
  // Written out: a source form may gather the weights of every token.
  for (const layer of original.layers) emitLayer(original.model, layer, floatExperts(layer));
  const batches = [...makeBatches(records, declaredInputs(original.model))];
  const sums = await measureGaps(original.model, model, routers, batches, session);
  return sums.map(({ gram, cross }, i) => {
    const { hidden, router } = layers[i];
    return {
      gram: { rows: hidden, cols: hidden, data: gram },
      cross: matrix(hidden, router.experts, Float32Array.from(cross)),
    };
  });
}

/** Does something while the routers have their changes. */
async function withChanges<T>(
  { model, layers }: Routed,
  changes: readonly (Matrix | null)[],
  work: () => Promise<T>,
): Promise<T> {
  const undo = changes.map((change, i) => change && changeRouter(model, layers[i], change));
  try {
    return await work();
  } finally {
    for (const takeBack of undo) takeBack?.();
    model.graph.removeDeadCode();
  }
}

/** One strength of the ridge in all layers. */
interface Trial {
  ridge: number;
  changes: Matrix[];
  report: Report;
}

/** The trial that does best for a layer; null when none does better than nothing. */
function bestFor(i: number, layer: MoeLayer, before: Report, trials: readonly Trial[]): Trial | null {
  let [best, least] = [null as Trial | null, lackOf(before.layers[i], layer)];
  for (const trial of trials) {
    const lack = lackOf(trial.report.layers[i], layer);
    if (lack < least) [best, least] = [trial, lack];
  }
  return best;
}

/** Takes out of `chosen` what does not help beside the others, until all that is left does; returns the last report. */
async function keepWhatHelps(
  layers: readonly MoeLayer[],
  chosen: (Trial | null)[],
  before: Report,
  measure: (changes: readonly (Matrix | null)[]) => Promise<Report>,
): Promise<Report> {
  while (chosen.some(Boolean)) {
    const after = await measure(chosen.map((trial, i) => trial && trial.changes[i]));
    const useless = layers.flatMap((layer, i) =>
      chosen[i] && lackOf(after.layers[i], layer) >= lackOf(before.layers[i], layer) ? [i] : [],
    );
    if (useless.length === 0) return after;
    for (const i of useless) chosen[i] = null;
  }
  return before;
}

/** How far a router's choice is from the original; where every token visits all experts, how far their weights are. */
function lackOf({ router }: LayerReport, layer: MoeLayer): number {
  const { topKAgreement, weightL1 } = router.cumulative;
  return layer.router.topK === null ? weightL1 : 1 - topKAgreement;
}

function agreementOf({ layers }: Report, i: number): number {
  return layers[i].router.cumulative.topKAgreement;
}

function tooFewRecords(count: number): Fault {
  return new Fault({
    code: 'REALIGN_RECORDS',
    what: `router.realign needs ${heldOutEvery} calibration records or more, not ${count}`,
    why: 'some are held out to judge the correction',
    remedy: 'give more records, or leave out router.realign',
  });
}
