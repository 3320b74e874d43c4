import type { Batch } from '../data/batches.ts';
import { makeBatches, validRows } from '../data/batches.ts';
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
import { takeCensus } from './census.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { JoinedModels } from './join-models.ts';
import { joinModels } from './join-models.ts';
import type { LayerTotals } from './layer-totals.ts';
import { addBatch, emptyTotals, layerReport } from './layer-totals.ts';
import { modelFacts } from './model-facts.ts';
import { hashRecords } from './hash-records.ts';
import { openQuantized } from './open-quantized.ts';
import { OutcomeBook } from './outcome-book.ts';

/**
 * Runs a model and its quantized form over records and reports how far they agree: routers, experts, outputs, tasks.
 * Gates are left empty: see `evaluateGates`.
 * @throws Fault VERIFY_*, and those of opening and running models
 */
export async function verify(
  referencePath: string,
  quantizedPath: string,
  records: readonly DataRecord[],
  options: SessionOptions = {},
): Promise<Report> {
  const { model: quantized, record } = openQuantized(quantizedPath);
  const census = takeCensus(prepareModel(referencePath), quantized);
  const reference = prepareModel(referencePath, opsetOf(quantized));
  const facts = { reference: modelFacts(openModel(referencePath)), quantized: modelFacts(quantized) };
  const isLanguage = records.every(({ inputs }) => tokenInput in inputs);
  checkVocabulary(records, vocabularySize(reference.model));
  const batches = [...makeBatches(records, declaredInputs(reference.model))];
  const joined = joinModels(
    reference,
    { model: quantized, record },
    { language: isLanguage, padded: batches.some(({ valid }) => valid) },
  );
  const book = new OutcomeBook(
    records,
    reference.layers.map(({ id }) => id),
    isLanguage,
  );
  const totals = reference.layers.map(emptyTotals);
  await runBatches(joined, batches, { book, totals, options });
  const summary = book.summary();
  return {
    ...facts,
    ...summary,
    data: { ...summary.data, sha256: hashRecords(records) },
    layers: totals.map((layer, i) => layerReport(layer, record.layers[i])),
    census: census.rows,
    size: {
      referenceBytes: facts.reference.bytes,
      quantizedBytes: facts.quantized.bytes,
      expertBitsPerWeight: census.expertBitsPerWeight,
    },
    execution: record.execution,
    gates: [],
    recipe: record.recipe,
  };
}

async function runBatches(
  joined: JoinedModels,
  batches: readonly Batch[],
  { book, totals, options }: { book: OutcomeBook; totals: readonly LayerTotals[]; options: SessionOptions },
): Promise<void> {
  const session = await openSession(joined.model, options);
  try {
    for (const batch of batches) {
      const results = await session.run(feedsOf(joined, batch));
      book.addOutputs(batch, joined.output, results);
      totals.forEach((layer, i) => {
        for (const agreement of addBatch(layer, joined.layers[i], batch, results))
          book.addAgreement(i, agreement);
      });
    }
  } finally {
    await session.release();
  }
}

function feedsOf({ targets, valid }: JoinedModels, batch: Batch): Feeds {
  const positions = batch.batch * batch.sequence;
  const feeds: Feeds = { ...batch.feeds };
  if (targets) feeds[targets.name] = { dtype: 'int64', dims: [positions], data: nextTokens(batch) };
  if (valid) feeds[valid.name] = validRows(batch);
  return feeds;
}

/** The token after each position; 0 at the end of a row, where no prediction counts. */
function nextTokens({ feeds, batch, sequence }: Batch): BigInt64Array {
  const ids = feeds[tokenInput].data;
  return BigInt64Array.from({ length: batch * sequence }, (_, position) =>
    (position + 1) % sequence === 0 ? 0n : BigInt(ids[position + 1]),
  );
}
