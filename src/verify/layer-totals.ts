import type { Batch } from '../data/batches.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { LayerRecord } from '../moe/model-record.ts';
import type { LayerReport } from '../report/report.ts';
import type { RunTensor } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import { decibel } from './decibel.ts';
import type { LayerComparison, RouterValues } from './join-models.ts';
import { positionsOf } from '../data/positions.ts';
import type { RouterSums } from './router-metrics.ts';
import { addToken, emptySums, meansOf } from './router-metrics.ts';
import type { TokenRouting } from './token-routing.ts';

/** What one layer has shown so far. */
export interface LayerTotals {
  layer: MoeLayer;
  local: RouterSums;
  cumulative: RouterSums;
  /** Per expert that has weights. */
  experts: { expert: Expert; tokens: number; error: number; power: number }[];
}

/** Top-k agreement of one record's tokens, summed. */
export interface Agreement {
  record: number;
  local: number;
  cumulative: number;
}

export function emptyTotals(layer: MoeLayer): LayerTotals {
  const experts = layer.experts.filter(({ kind }) => kind === 'ffn');
  return {
    layer,
    local: emptySums(),
    cumulative: emptySums(),
    experts: experts.map((expert) => ({ expert, tokens: 0, error: 0, power: 0 })),
  };
}

/** Adds one batch; yields each token's top-k agreement. */
export function* addBatch(
  totals: LayerTotals,
  comparison: LayerComparison,
  batch: Batch,
  results: Record<string, RunTensor>,
): Generator<Agreement> {
  const { layer, experts, local, cumulative } = totals;
  const reference = readRouting(comparison.reference, layer, results);
  const quantizedLocal = readRouting(comparison.local, layer, results);
  const quantizedCumulative = readRouting(comparison.cumulative, layer, results);
  const byColumn = new Map(experts.map((expert) => [expert.expert.index, expert]));
  for (const { record, at } of positionsOf(batch, reference.tokens)) {
    yield {
      record,
      local: addToken(local, reference, quantizedLocal, at),
      cumulative: addToken(cumulative, reference, quantizedCumulative, at),
    };
    for (const column of chosenBy(reference, at)) {
      const expert = byColumn.get(column);
      if (expert) expert.tokens += 1;
    }
  }
  const error = toFloats(results[comparison.experts.error.name]);
  const power = toFloats(results[comparison.experts.power.name]);
  experts.forEach((expert, i) => {
    expert.error += error[i];
    expert.power += power[i];
  });
}

/** Every expert's figures and the routers' means. */
export function layerReport(
  { layer, local, cumulative, experts }: LayerTotals,
  record: LayerRecord,
): LayerReport {
  const error = experts.reduce((sum, expert) => sum + expert.error, 0);
  const power = experts.reduce((sum, expert) => sum + expert.power, 0);
  return {
    id: layer.id,
    router: { local: meansOf(local), cumulative: meansOf(cumulative) },
    sqnrDb: decibel(power, error),
    experts: experts.map((each, i) => ({
      id: each.expert.id,
      tokens: each.tokens,
      calibrationTokens: record.calibrationTokens?.[i] ?? null,
      sqnrDb: each.tokens > 0 ? decibel(each.power, each.error) : null,
    })),
  };
}

function readRouting(
  values: RouterValues,
  { router }: MoeLayer,
  results: Record<string, RunTensor>,
): TokenRouting {
  const logits = toFloats(results[values.logits.name]);
  const tokens = logits.length / router.experts;
  const weights = toFloats(results[values.weights.name]);
  const indices =
    values.indices && Int32Array.from(results[values.indices.name].data as ArrayLike<number>, Number);
  return {
    tokens,
    experts: router.experts,
    k: indices ? indices.length / tokens : router.experts,
    logits,
    indices,
    weights,
  };
}

/** Router columns a token is sent to. */
function chosenBy({ indices, weights, k }: TokenRouting, token: number): number[] {
  const slots = Array.from({ length: k }, (_, j) => token * k + j);
  return indices
    ? slots.map((slot) => indices[slot])
    : slots.filter((slot) => weights[slot] !== 0).map((slot) => slot - token * k);
}
