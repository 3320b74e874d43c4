import type { Batch } from '../data/batches.ts';
import { makeBatches } from '../data/batches.ts';
import type { DataRecord } from '../data/record.ts';
import { tokenInput } from '../data/record.ts';
import { checkVocabulary } from '../data/vocabulary.ts';
import { vocabularySize } from '../data/vocabulary-size.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { opsetOf } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { Report } from '../report/report.ts';
import type { Feeds, SessionOptions } from '../runtime/session.ts';
import { openSession } from '../runtime/session.ts';
import type { CauseTotals } from './attribution.ts';
import { addCauses, attributionOf, emptyCauses } from './attribution.ts';
import { takeCensus } from './census.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { JoinedModels } from './join-models.ts';
import { joinModels } from './join-models.ts';
import type { LayerTotals } from './layer-totals.ts';
import { positionsFor } from './positions-for.ts';
import { addBatch, emptyTotals, layerReport } from './layer-totals.ts';
import { modelFacts } from './model-facts.ts';
import { hashRecords } from './hash-records.ts';
import { openQuantized } from './open-quantized.ts';
import { OutcomeBook } from './outcome-book.ts';

export interface VerifyOptions extends SessionOptions {
  /** Whether to tell the loss from routing and that from experts apart: two more runs of the model. Yes by default. */
  attribution?: boolean;
  /** Told after each batch how many records are done. */
  onBatch?: (done: number) => void;
}

/**
 * Runs a model and its quantized form over records and reports how far they agree: routers, experts, outputs, tasks.
 * Gates are left empty: see `evaluateGates`.
 * @throws Fault VERIFY_*, and those of opening and running models
 */
export async function verify(
  referencePath: string,
  quantizedPath: string,
  records: readonly DataRecord[],
  options: VerifyOptions = {},
): Promise<Report> {
  const { model: quantized, record } = openQuantized(quantizedPath);
  const opened = openModel(referencePath);
  const facts = { reference: modelFacts(opened), quantized: modelFacts(quantized) };
  const reference = prepareModel(opened, opsetOf(quantized));
  const census = takeCensus(reference, quantized);
  const inputs = declaredInputs(reference.model);
  const language = records.every((each) => tokenInput in each.inputs);
  const classes = vocabularySize(reference.model);
  checkVocabulary(records, classes);
  const { attribution = true } = options;
  const joined = joinModels(reference, { model: quantized, record }, { language, attribution });
  const layerIds = reference.layers.map(({ id }) => id);
  const tally: Tally = {
    book: new OutcomeBook(records, layerIds, language),
    layers: reference.layers.map(emptyTotals),
    causes: emptyCauses(),
  };
  const batches = makeBatches(records, inputs, positionsFor(classes ?? 0));
  await runBatches(joined, records, batches, tally, options);
  const summary = tally.book.summary();
  return {
    ...facts,
    ...summary,
    data: { ...summary.data, sha256: hashRecords(records) },
    layers: tally.layers.map((layer, i) => layerReport(layer, record.layers[i])),
    census: census.rows,
    size: {
      referenceBytes: facts.reference.bytes,
      quantizedBytes: facts.quantized.bytes,
      expertBitsPerWeight: census.expertBitsPerWeight,
    },
    execution: record.execution,
    gates: [],
    ...(joined.output.experts && { attribution: attributionOf(tally.causes, summary.output) }),
    ...(joined.unmixed && {
      notes: [`Changed routing and quantized experts are not told apart: ${joined.unmixed}.`],
    }),
    recipe: record.recipe,
  };
}

/** What is added up over all batches. */
interface Tally {
  book: OutcomeBook;
  layers: readonly LayerTotals[];
  causes: CauseTotals;
}

async function runBatches(
  joined: JoinedModels,
  records: readonly DataRecord[],
  batches: Iterable<Batch>,
  { book, layers, causes }: Tally,
  { onBatch, ...options }: VerifyOptions,
): Promise<void> {
  const session = await openSession(joined.model, options);
  let done = 0;
  try {
    for (const batch of batches) {
      const results = await session.run(feedsOf(joined, batch));
      book.addOutputs(batch, joined.output, results);
      addCauses(causes, joined.output, batch, records, results);
      layers.forEach((layer, i) => {
        for (const agreement of addBatch(layer, joined.layers[i], batch, results))
          book.addAgreement(i, agreement);
      });
      onBatch?.((done += batch.records.length));
    }
  } finally {
    await session.release();
  }
}

function feedsOf({ targets }: JoinedModels, batch: Batch): Feeds {
  if (!targets) return batch.feeds;
  const positions = batch.batch * batch.sequence;
  return {
    ...batch.feeds,
    [targets.name]: { dtype: 'int64', dims: [positions], data: nextTokens(batch) },
  };
}

/** The token after each position; 0 at the end of a row, where no prediction counts. */
function nextTokens({ feeds, batch, sequence }: Batch): BigInt64Array {
  const ids = feeds[tokenInput].data;
  return BigInt64Array.from({ length: batch * sequence }, (_, position) =>
    (position + 1) % sequence === 0 ? 0n : BigInt(ids[position + 1]),
  );
}
