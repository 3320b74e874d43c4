import type { Batch } from '../data/batches.ts';
import type { DataRecord } from '../data/record.ts';
import { tokenInput } from '../data/record.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { valuesIn } from '../onnx/values-in.ts';
import type { Probe } from '../run/probe.ts';
import { feedsOf } from '../run/probe.ts';
import { runBatches } from '../run/run-batches.ts';
import { walkStages } from '../run/stage-walk.ts';
import type { Feeds, RunTensor, SessionOptions } from '../runtime/session.ts';
import type { CauseTotals } from './attribution.ts';
import { addCauses } from './attribution.ts';
import type { JoinedModels, LayerComparison } from './join-models.ts';
import type { LayerTotals } from './layer-totals.ts';
import { addBatch } from './layer-totals.ts';
import type { OutcomeBook } from './outcome-book.ts';

/** What is added up over all batches. */
export interface Tally {
  layers: readonly LayerTotals[];
  book: OutcomeBook;
  causes: CauseTotals;
  records: readonly DataRecord[];
}

export interface JoinedRun extends SessionOptions {
  /** Whether to run one layer of all models at a time, with what is between on disk: where they do not fit in memory. */
  byLayer?: boolean;
  /** Told after each batch, or each layer, how many records are done. */
  onBatch?: (done: number) => void;
}

/**
 * Runs joined models over batches and adds up what they compute.
 * @throws Fault ORT_*, CALIBRATION_STAGE
 */
export async function runJoined(
  joined: JoinedModels,
  batches: Iterable<Batch>,
  tally: Tally,
  { byLayer = false, onBatch = () => {}, ...session }: JoinedRun,
): Promise<void> {
  const { model, entries } = joined;
  const layers = joined.layers.map((comparison, i) => layerProbe(comparison, i, tally));
  const probes = [...layers, outputProbe(joined, tally)];
  if (!byLayer) return runAtOnce(model, batches, probes, session, onBatch);
  const ends = probes.map(({ outputs }, i) => [...outputs, ...(entries[i] ?? [])]);
  return runInStages(model, [...batches], { probes, ends }, session, onBatch);
}

/** Adds up what is seen of one layer. */
function layerProbe(comparison: LayerComparison, at: number, { layers, book }: Tally): Probe {
  return {
    outputs: [...valuesIn(comparison)],
    take(results, batch) {
      for (const agreement of addBatch(layers[at], comparison, batch, results))
        book.addAgreement(at, agreement);
    },
  };
}

/** Adds up what is seen of the outputs. */
function outputProbe({ output, targets }: JoinedModels, { records, book, causes }: Tally): Probe {
  return {
    outputs: [...valuesIn(output)],
    feeds: (batch) => (targets ? { [targets.name]: nextTokens(batch) } : {}),
    take(results, batch) {
      book.addOutputs(batch, output, results);
      addCauses(causes, output, batch, records, results);
    },
  };
}

async function runAtOnce(
  model: Model,
  batches: Iterable<Batch>,
  probes: readonly Probe[],
  session: SessionOptions,
  onBatch: (done: number) => void,
): Promise<void> {
  let done = 0;
  const more = (batch: Batch): Feeds => feedsOf(probes, batch);
  await runBatches(model, batches, { valid: null, more }, session, (results, batch) => {
    for (const probe of probes) probe.take(results, batch);
    onBatch((done += batch.records.length));
  });
}

/** Each stage up to its ends, with one probe. */
async function runInStages(
  model: Model,
  batches: readonly Batch[],
  { probes, ends }: { probes: readonly Probe[]; ends: readonly (readonly Value[])[] },
  session: SessionOptions,
  onBatch: (done: number) => void,
): Promise<void> {
  const records = batches.reduce((sum, batch) => sum + batch.records.length, 0);
  const walk = walkStages(model.graph, ends, batches, session);
  try {
    for (const [index, probe] of probes.entries()) {
      await walk.run(model, index, { probes: [probe], valid: null, passOn: true });
      onBatch(Math.floor((records * (index + 1)) / probes.length));
    }
  } finally {
    walk.close();
  }
}

/** The token after each position; 0 at the end of a row, where no prediction counts. */
function nextTokens({ feeds, batch, sequence }: Batch): RunTensor {
  const ids = feeds[tokenInput].data;
  const positions = batch * sequence;
  const data = BigInt64Array.from({ length: positions }, (_, position) =>
    (position + 1) % sequence === 0 ? 0n : BigInt(ids[position + 1]),
  );
  return { dtype: 'int64', dims: [positions], data };
}
