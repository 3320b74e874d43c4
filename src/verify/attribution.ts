import type { Batch } from '../data/batches.ts';
import { positionsOf } from '../data/positions.ts';
import type { DataRecord } from '../data/record.ts';
import type { Report } from '../report/report.ts';
import type { Results } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import type { OutputDistance } from './compare-outputs.ts';
import { decibel } from './decibel.ts';
import type { JoinedOutput } from './join-models.ts';
import { nextToken } from './next-token.ts';

type Attribution = NonNullable<Report['attribution']>;

/** Sums over all positions, of the models of mixed parts (see `joinHybrids`). */
export type CauseTotals = Record<'routing' | 'experts', CauseSums>;

interface CauseSums {
  tokens: number;
  predicted: number;
  kl: number;
  nll: number;
  error: number;
  power: number;
}

const nothing: CauseSums = { tokens: 0, predicted: 0, kl: 0, nll: 0, error: 0, power: 0 };

export function emptyCauses(): CauseTotals {
  return { routing: { ...nothing }, experts: { ...nothing } };
}

/** Adds one batch; nothing where the graph has no models of mixed parts. */
export function addCauses(
  totals: CauseTotals,
  output: JoinedOutput,
  batch: Batch,
  records: readonly DataRecord[],
  results: Results,
): void {
  const power = toFloats(results[output.reference.power.name]);
  for (const cause of ['routing', 'experts'] as const) {
    const distance = output[cause];
    if (distance) addCause(totals[cause], { distance, power }, batch, records, results);
  }
}

function addCause(
  sums: CauseSums,
  { distance, power }: { distance: OutputDistance; power: Float32Array },
  batch: Batch,
  records: readonly DataRecord[],
  results: Results,
): void {
  const [kl, error] = [distance.kl, distance.error].map(({ name }) => toFloats(results[name]));
  const nll = distance.nll && toFloats(results[distance.nll.name]);
  for (const { record, step, at } of positionsOf(batch, kl.length)) {
    sums.tokens += 1;
    sums.kl += kl[at];
    sums.error += error[at];
    sums.power += power[at];
    if (!nll || nextToken(records[record], step) === undefined) continue;
    sums.predicted += 1;
    sums.nll += nll[at];
  }
}

/** What each cause alone costs; `both` is what was measured of the quantized model itself. */
export function attributionOf(
  causes: CauseTotals,
  { kl, sqnrDb, perplexity }: Report['output'],
): Attribution {
  return {
    routing: costOf(causes.routing),
    experts: costOf(causes.experts),
    both: { kl, sqnrDb, ...(perplexity && { perplexity: perplexity.quantized }) },
  };
}

function costOf({ tokens, predicted, kl, nll, error, power }: CauseSums): Attribution['both'] {
  return {
    kl: kl / tokens,
    sqnrDb: decibel(power, error),
    ...(predicted > 0 && { perplexity: Math.exp(nll / predicted) }),
  };
}
