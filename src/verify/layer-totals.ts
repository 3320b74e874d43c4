import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { LayerRecord } from '../moe/model-record.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { LayerReport } from '../report/report.ts';
import type { Results } from '../runtime/session.ts';
import { decibel } from './decibel.ts';
import type { ExpertErrors } from './expert-errors.ts';
import type { LayerComparison } from './join-models.ts';
import type { Choice, Decision, RouterSums } from './router-metrics.ts';
import { addToken, decisionOf, emptySums, meansOf, referenceDecisionOf } from './router-metrics.ts';
import { readRouting } from './router-values.ts';

/** What one layer has shown so far. */
export interface LayerTotals {
  layer: MoeLayer;
  local: RouterSums;
  cumulative: RouterSums;
  /** Tokens for which a router decided by values that are not finite; of the quantized ones where the reference did not. */
  notFinite: { reference: number; local: number; cumulative: number };
  /** Experts that have weights, in the order of their pairs. */
  experts: ExpertTotals[];
}

interface ExpertTotals {
  expert: Expert;
  /** Of the reference, and how many of them the quantized routers send to this expert too. */
  tokens: number;
  kept: { local: number; cumulative: number };
  error: number;
  power: number;
  /** Tokens for which what it computes is not finite; in the quantized model where it is in the reference. */
  notFinite: { reference: number; quantized: number };
}

/** Top-k agreement of one record's tokens, summed. */
export interface Agreement {
  record: number;
  local: number;
  cumulative: number;
}

export function emptyTotals(layer: MoeLayer): LayerTotals {
  const experts = ffnExperts(layer);
  return {
    layer,
    local: emptySums(),
    cumulative: emptySums(),
    notFinite: { reference: 0, local: 0, cumulative: 0 },
    experts: experts.map((expert) => ({
      expert,
      tokens: 0,
      kept: { local: 0, cumulative: 0 },
      error: 0,
      power: 0,
      notFinite: { reference: 0, quantized: 0 },
    })),
  };
}

/** Adds one batch; yields each token's top-k agreement. */
export function* addBatch(
  totals: LayerTotals,
  comparison: LayerComparison,
  batch: Batch,
  results: Results,
): Generator<Agreement> {
  const { layer, experts, local, cumulative } = totals;
  const [reference, quantizedLocal, quantizedCumulative] = [
    comparison.reference,
    comparison.local,
    comparison.cumulative,
  ].map((router) => readRouting(router, layer.router.experts, results));
  const byColumn = new Map(experts.map((expert) => [expert.expert.index, expert]));
  const real = new Uint8Array(reference.tokens);
  for (const { record, at } of positionsOf(batch, reference.tokens)) {
    real[at] = 1;
    const decision = referenceDecisionOf(reference, at);
    const own = { local: decisionOf(quantizedLocal, at), cumulative: decisionOf(quantizedCumulative, at) };
    yield {
      record,
      local: addToken(local, decision, own.local),
      cumulative: addToken(cumulative, decision, own.cumulative),
    };
    countTokens(byColumn, decision.chosen, own);
    countNonFinite(totals.notFinite, decision, own);
  }
  addErrors(experts, comparison.experts, real, results);
}

function countTokens(
  byColumn: ReadonlyMap<number, ExpertTotals>,
  chosen: Choice,
  quantized: { local: Decision; cumulative: Decision },
): void {
  for (const column of chosen.keys()) {
    const expert = byColumn.get(column);
    if (!expert) continue;
    expert.tokens += 1;
    expert.kept.local += keeps(quantized.local, column);
    expert.kept.cumulative += keeps(quantized.cumulative, column);
  }
}

function keeps({ chosen, isSound }: Decision, column: number): number {
  return Number(isSound && chosen.has(column));
}

function countNonFinite(
  counts: LayerTotals['notFinite'],
  reference: Decision,
  own: { local: Decision; cumulative: Decision },
): void {
  if (!reference.isSound) counts.reference += 1;
  else if (!own.local.isSound) counts.local += 1;
  else if (!own.cumulative.isSound) counts.cumulative += 1;
}

/** Adds the errors of all pairs whose token is no padding. */
function addErrors(
  experts: readonly ExpertTotals[],
  values: ExpertErrors,
  real: Uint8Array,
  results: Results,
): void {
  const [tokens, pairExperts, error, power] = [values.tokens, values.experts, values.error, values.power].map(
    ({ name }) => results[name].data as Int32Array | Float32Array,
  );
  for (let pair = 0; pair < tokens.length; pair++) {
    if (real[tokens[pair]] === 0) continue;
    const expert = experts[pairExperts[pair]];
    expert.error += error[pair];
    expert.power += power[pair];
    if (!Number.isFinite(power[pair])) expert.notFinite.reference += 1;
    else if (!Number.isFinite(error[pair])) expert.notFinite.quantized += 1;
  }
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
    experts: experts.map(({ expert, tokens, kept, notFinite, ...sums }, i) => ({
      id: expert.id,
      tokens,
      calibrationTokens: record.calibrationTokens?.[i] ?? null,
      ...(record.methods && { method: record.methods[i] }),
      sqnrDb: tokens > 0 ? decibel(sums.power, sums.error) : null,
      kept: { local: kept.local / tokens, cumulative: kept.cumulative / tokens },
      ...notFiniteOf(notFinite),
    })),
  };
}

function notFiniteOf({ reference, quantized }: ExpertTotals['notFinite']): { notFinite?: number } {
  const tokens = reference + quantized;
  return tokens > 0 ? { notFinite: tokens } : {};
}
