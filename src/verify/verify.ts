import type { Batch } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import type { DataRecord } from '../data/record.ts';
import { tokenInput } from '../data/record.ts';
import { vocabularySize } from '../data/vocabulary.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { opsetOf } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';
import type { LayerReport, Report } from '../report/report.ts';
import { attributionOf, emptyCauses } from './attribution.ts';
import { batchesFor } from './batches-for.ts';
import { takeCensus } from './census.ts';
import { checkSourceForm } from './check-source-form.ts';
import { hashRecords, modelFacts } from './facts.ts';
import { joinModels, mainOutput, recordOf } from './join-models.ts';
import { emptyTotals, layerReport } from './layer-totals.ts';
import { notesOnNonFinite } from './not-finite.ts';
import type { OpenQuantized } from './open-quantized.ts';
import { openQuantized } from './open-quantized.ts';
import { OutcomeBook } from './outcome-book.ts';
import type { JoinedRun } from './run-joined.ts';
import { runJoined } from './run-joined.ts';

export interface VerifyOptions extends JoinedRun {
  /** Whether to tell the loss from routing and that from experts apart: two more runs of the model. Yes by default. */
  attribution?: boolean;
  /** The reference's layers were compared with the source form already, see `checkSourceForm`. */
  isSourceChecked?: boolean;
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
  { attribution = true, isSourceChecked = false, ...running }: VerifyOptions = {},
): Promise<Report> {
  const { stored, isOurs, ...quantized } = openQuantized(quantizedPath);
  const { execution, recipe } = quantized.record;
  const opened = openModel(referencePath);
  const facts = { reference: await modelFacts(opened), quantized: await modelFacts(stored) };
  const reference = prepareModel(opened, opsetOf(quantized.model));
  const census = takeCensus(reference, stored);
  // Before the models are joined, which adds inputs.
  const batches = batchesFor(reference.model, records);
  const language = givesLogits(reference.model) && records.every((each) => tokenInput in each.inputs);
  const located = [...(isSourceChecked ? [] : [referencePath]), ...(isOurs ? [] : [quantizedPath])];
  const uncompared = await checkSourceForms(located, records);
  const models = { reference, quantized };
  const measured = await measure(models, { records, batches }, { language, attribution, ...running });
  const isUnjudged = !language && records.some(({ answerStart }) => answerStart !== null);
  const notes = [...measured.notFinite, ...uncompared, ...notesOf(measured.unmixed, isUnjudged)];
  return {
    ...facts,
    ...measured.summary,
    data: { ...measured.summary.data, sha256: hashRecords(records) },
    layers: measured.layers,
    census: census.rows,
    size: {
      referenceBytes: facts.reference.bytes,
      quantizedBytes: facts.quantized.bytes,
      expertBitsPerWeight: census.expertBitsPerWeight,
    },
    execution,
    gates: [],
    ...(measured.attribution && { attribution: measured.attribution }),
    ...(notes.length > 0 && { notes }),
    recipe,
  };
}

/** What running both models tells. */
interface Measured {
  summary: ReturnType<OutcomeBook['summary']>;
  layers: LayerReport[];
  /** Null where the causes of the loss were not told apart; `unmixed` says why, else it is empty. */
  attribution: NonNullable<Report['attribution']> | null;
  unmixed: string;
  /** Notes of where values were not finite. */
  notFinite: string[];
}

/** Runs both models side by side, in one graph. */
async function measure(
  { reference, quantized }: { reference: PreparedModel; quantized: Pick<OpenQuantized, 'model' | 'record'> },
  { records, batches }: { records: readonly DataRecord[]; batches: Iterable<Batch> },
  { language, attribution, ...running }: JoinedRun & { language: boolean; attribution: boolean },
): Promise<Measured> {
  const { byLayer = false } = running;
  const joined = joinModels(reference, quantized, { language, attribution, byLayer });
  const layerIds = reference.layers.map(({ id }) => id);
  const book = new OutcomeBook(records, layerIds, language);
  const layers = reference.layers.map(emptyTotals);
  const causes = emptyCauses();
  await runJoined(joined, batches, { layers, book, causes, records }, running);
  const summary = book.summary();
  return {
    summary,
    layers: layers.map((totals) => layerReport(totals, recordOf(totals.layer, quantized))),
    attribution: joined.output.experts ? attributionOf(causes, summary.output) : null,
    unmixed: joined.unmixed,
    notFinite: notesOnNonFinite(layers, book.notFinite, summary.data.tokens),
  };
}

async function checkSourceForms(paths: readonly string[], records: readonly DataRecord[]): Promise<string[]> {
  const notes: string[] = [];
  for (const path of paths) notes.push(...(await checkSourceForm(prepareModel(path), records)));
  return notes;
}

function notesOf(unmixed: string, isUnjudged: boolean): string[] {
  const unjudged =
    'Answers were not judged: that takes logits of every position, and input_ids in every record.';
  return [
    ...(unmixed ? [`Changed routing and quantized experts are not told apart: ${unmixed}.`] : []),
    ...(isUnjudged ? [unjudged] : []),
  ];
}

/** Whether the main output tells a next token of every position: logits [batch, sequence, vocabulary]. */
function givesLogits(model: Model): boolean {
  const { name, shape } = mainOutput(model);
  const vocabulary = vocabularySize(model);
  if (!shape) return true;
  const [, positions, width] = shape;
  const tokens = declaredInputs(model).find((input) => input.name === tokenInput);
  const isOfLast = positions === 1 && tokens?.shape[1] !== 1;
  if (shape.length !== 3 || isOfLast) return false;
  return name === 'logits' || typeof width !== 'number' || vocabulary === null || width >= vocabulary;
}
