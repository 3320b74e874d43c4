import type { CandidateHeap } from './candidate-heap.ts';
import { candidateHeap } from './candidate-heap.ts';
import type { LayerVisits, RecordCounts } from './count-tokens.ts';

/** How many experts of a layer have enough calibration tokens. */
export interface Coverage {
  covered: number;
  /** Some tokens, but fewer than the floor. */
  starved: number;
  unseen: number;
}

/** The choice of calibration records, and what it did for each layer. */
export interface Balance {
  /** Indices of the records to calibrate on: the base, then those that were added, in the order of their choice. */
  chosen: number[];
  layers: { id: string; floor: number; before: Coverage; after: Coverage }[];
}

/**
 * Expert-level data balance (EAQuant, arXiv 2506.13329, section 3.3), as a real floor: an expert should see at least
 * r·k·N/n tokens, where N counts the tokens of the base records. While an expert of any layer is below its floor, the
 * record of the pool is added that fills most of what is missing, per token; until all floors are met or no record
 * helps. Ties go to the earlier record, so the choice is reproducible.
 */
export function balanceRecords(counts: RecordCounts, base: number, ratio: number): Balance {
  const records = counts.tokens.length;
  const total = sumOf(counts.tokens.subarray(0, base));
  const layers = counts.layers.map((layer) => {
    const floor = Math.ceil((ratio * layer.k * total) / layer.experts);
    const seen = visitsOf(
      layer,
      Array.from({ length: base }, (_, record) => record),
    );
    const state = { ...layer, floor, seen };
    return { ...state, before: coverageIn(state) };
  });
  const chosen = Array.from({ length: base }, (_, record) => record);
  const gainOfRecord = (record: number): number =>
    layers.reduce((sum, layer) => sum + gainOf(layer, record), 0) / Math.max(counts.tokens[record], 1);
  const pool = candidateHeap();
  for (let record = base; record < records; record++) pool.push({ record, gain: gainOfRecord(record) });
  for (let next = takeBest(pool, gainOfRecord); next !== null; next = takeBest(pool, gainOfRecord)) {
    chosen.push(next);
    for (const layer of layers) addVisits(layer.seen, layer, next);
  }
  return {
    chosen,
    layers: layers.map((layer) => {
      const { id, floor, before } = layer;
      return { id, floor, before, after: coverageIn(layer) };
    }),
  };
}

export function coverageOf(visits: readonly number[], floor: number): Coverage {
  const coverage: Coverage = { covered: 0, starved: 0, unseen: 0 };
  for (const count of visits) {
    if (count >= floor && count > 0) coverage.covered += 1;
    else if (count > 0) coverage.starved += 1;
    else coverage.unseen += 1;
  }
  return coverage;
}

interface LayerState extends LayerVisits {
  floor: number;
  /** [experts] */
  seen: Uint32Array;
}

function coverageIn({ columns, seen, floor }: LayerState): Coverage {
  return coverageOf(
    columns.map((column) => seen[column]),
    floor,
  );
}

/**
 * Takes the record with the largest gain per token out of the pool; null when none helps. Gains only fall while experts
 * fill up, so what was known of a record bounds what it gains now: only those that come to the top are looked at again
 * (lazy greedy, Minoux 1978), and the choice is that of looking at all.
 */
function takeBest(pool: CandidateHeap, gainOfRecord: (record: number) => number): number | null {
  for (let best = pool.pop(); best && best.gain > 0; best = pool.pop()) {
    const gain = gainOfRecord(best.record);
    if (gain === best.gain) return best.record;
    pool.push({ record: best.record, gain });
  }
  return null;
}

/** The share of missing tokens that a record supplies, summed over the starving experts of a layer. */
function gainOf({ experts, columns, visits, floor, seen }: LayerState, record: number): number {
  let gain = 0;
  for (const e of columns) {
    const missing = floor - seen[e];
    if (missing > 0) gain += Math.min(missing, visits[record * experts + e]) / floor;
  }
  return gain;
}

function visitsOf(
  { experts, visits }: Pick<LayerVisits, 'experts' | 'visits'>,
  records: readonly number[],
): Uint32Array {
  const seen = new Uint32Array(experts);
  for (const record of records) addVisits(seen, { experts, visits }, record);
  return seen;
}

function addVisits(
  seen: Uint32Array,
  { experts, visits }: Pick<LayerVisits, 'experts' | 'visits'>,
  record: number,
): void {
  for (let e = 0; e < experts; e++) seen[e] += visits[record * experts + e];
}

function sumOf(values: Uint32Array): number {
  return values.reduce((sum, value) => sum + value, 0);
}
