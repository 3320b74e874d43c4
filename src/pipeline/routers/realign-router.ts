import type { GapSums } from '../../calibrate/gap-probe.ts';
import { changeRouter } from '../../emit/linears/change-router.ts';
import { Fault, isFault } from '../../fault.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { Model } from '../../onnx/model.ts';
import type { RouterGap } from '../../quantize/realign.ts';
import { realignment } from '../../quantize/realign.ts';
import type { RouterMetrics } from '../../report/report.ts';
import { ortGemm } from '../../runtime/ort-gemm.ts';
import type { Matrix } from '../../tensor/matrix.ts';
import { matrix } from '../../tensor/matrix.ts';

/** What was decided about one router. */
export interface RouterRealignment {
  layer: string;
  /** Added to the router's weight [experts, hidden]; null where it stays as it is. */
  change: Matrix | null;
  /** The ridge λ of the change, as a share of the mean diagonal. */
  ridge: number | null;
  /**
   * Top-k agreement with the original router on the records held out, without and with the change; the routers of the
   * layers before it have theirs.
   */
  agreement: { before: number; after: number };
}

/** Runs of the layer whose router is to be realigned. */
export interface RouterRuns {
  /** On the records to fit on: how far the router is from the original one. */
  gap: () => Promise<GapSums>;
  /** On those held out: what it decides as it is at the time. */
  judge: () => Promise<RouterMetrics>;
}

/** Strengths of the ridge that are tried, the strongest first: it is taken where others do no better. */
const ridges = [1e-1, 1e-2, 1e-3];

/** How often a router is judged. */
export const judgements = 1 + ridges.length;

/** Fits the change of one router with each ridge, and keeps the one that helps most, if any does; the model stays. */
export async function realignRouter(
  model: Model,
  layer: MoeLayer,
  { gap, judge }: RouterRuns,
): Promise<RouterRealignment> {
  const before = await judge();
  let best: Candidate = { change: null, ridge: null, metrics: before };
  // The first router reads what no quantized expert has touched, and lacks nothing.
  if (lackOf(before, layer) !== 0) {
    const measured = gapOf(layer, await gap());
    for (const ridge of ridges) {
      const change = await realignment(measured, ridge, ortGemm).catch((error) => refuse(error, layer));
      const takeBack = changeRouter(model, layer, change);
      const metrics = await judge().finally(takeBack);
      if (lackOf(metrics, layer) < lackOf(best.metrics, layer)) best = { change, ridge, metrics };
    }
  }
  const { change, ridge, metrics } = best;
  return {
    layer: layer.id,
    change,
    ridge,
    agreement: { before: before.topKAgreement, after: metrics.topKAgreement },
  };
}

/** Tells of which router. */
function refuse(error: unknown, { id }: MoeLayer): never {
  if (!isFault(error)) throw error;
  const remedy = 'use --set router.realign=false, or give other records';
  throw new Fault({ ...error.toRecord(), where: `router of layer ${id}`, remedy }, { cause: error });
}

interface Candidate extends Pick<RouterRealignment, 'change' | 'ridge'> {
  metrics: RouterMetrics;
}

function gapOf({ hidden, router }: MoeLayer, { gram, cross }: GapSums): RouterGap {
  return {
    gram: { rows: hidden, cols: hidden, data: gram },
    cross: matrix(hidden, router.experts, Float32Array.from(cross)),
  };
}

/** How far a router's choice is from the original; where every token visits all experts, how far their weights are. */
function lackOf({ topKAgreement, weightL1 }: RouterMetrics, { router }: MoeLayer): number {
  return router.topK === null ? weightL1 : 1 - topKAgreement;
}
