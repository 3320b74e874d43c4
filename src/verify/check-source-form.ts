import { basename } from 'node:path';
import type { Batch } from '../data/batches.ts';
import { makeBatches } from '../data/batches.ts';
import { madeUpRecords } from '../data/made-up-records.ts';
import { declaredInputs } from '../data/model-input.ts';
import { positionsOf } from '../data/positions.ts';
import type { DataRecord } from '../data/record.ts';
import type { SampleSize } from '../data/sample-records.ts';
import { inPairs, sampleRecords } from '../data/sample-records.ts';
import { emitFloat } from '../emit/float-experts.ts';
import { Fault, isFault } from '../fault.ts';
import { expertWeights } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import { lookAt } from '../run/look-at.ts';
import type { Probe } from '../run/probe.ts';
import { walkLayers } from '../run/stage-walk.ts';
import { toFloats } from '../runtime/session.ts';
import { computesInFloat } from './computes-in-float.ts';
import type { Measure } from './output-differences.ts';
import { differencesOf, exactly, roughly } from './output-differences.ts';

/**
 * Runs every layer as it stands in the file, and again written out in float, on the same inputs. All else that is
 * measured sets out from what was written out: where a layer was taken for something it is not, only this sees it.
 * Layers are run one by one, since a source form may hold its weights in a way of its own.
 * @param prepared a model just opened, which is changed
 * @param records a few of them are run, cut short; some are made up where there are none
 * @returns a note of why they were not compared; none where all layers agree
 * @throws Fault LAYER_MISREAD
 */
export async function checkSourceForm(
  prepared: PreparedModel,
  records: readonly DataRecord[],
): Promise<string[]> {
  const { model, layers } = prepared;
  const { path } = model;
  const size = sampleSize(layers);
  const isMadeUp = records.length === 0;
  const sample = isMadeUp ? madeUpRecords(model, size) : sampleRecords(records, size);
  if (sample.length === 0)
    return notCompared(path, 'there are no records, and it takes more than tokens or numbers');
  const memory = isMadeUp ? freely : Math.max(freely, process.availableMemory() / 2);
  if (layers.some((layer) => memoryOf(layer) > memory))
    return notCompared(path, 'to run one takes more memory than there is to spare');
  try {
    // Without padding, which source forms may take for tokens.
    const batches = inPairs(sample).flatMap((pair) => [...makeBatches(pair, declaredInputs(model))]);
    await compareLayers(prepared, batches);
    return [];
  } catch (error) {
    if (!isFault(error) || error.code === misread) throw error;
    return notCompared(path, reasonFor(error));
  }
}

function reasonFor({ what, why }: Fault): string {
  return [what, why].filter(Boolean).join(': ');
}

function notCompared(path: string, why: string): string[] {
  const note = `the layers of ${basename(path)} were not run as they stand in the file, to be compared with what was read from it: ${why}`;
  return [note];
}

/** Weights that a source form may gather at a time, 256 MB: some do so for every token. */
const gathered = 2 ** 26;

/** Few long records where experts stand one by one: traces of a loop run only for tokens that reach all of them. */
function sampleSize(layers: readonly MoeLayer[]): SampleSize {
  const [records, tokens] = layers.some(({ form }) => form === 'loop') ? [4, 128] : [16, 32];
  return { records, tokens: Math.min(tokens, ...layers.map(tokensAtATime)) };
}

/** Of each of the two records that are run together. */
function tokensAtATime({ form, hidden, intermediate, router: { topK, experts } }: MoeLayer): number {
  const perToken = form === 'loop' ? 0 : (topK ?? experts) * hidden * intermediate;
  return Math.max(4, Math.floor(gathered / (2 * perToken)));
}

/** May be taken without asking: without records memory follows the largest expert of a conversion, and no layer. */
const freely = 2 ** 30;

/** What ONNX Runtime takes to run a layer, at most: a fused one of half floats is held in both types, and packed. */
function memoryOf(layer: MoeLayer): number {
  return 20 * expertWeights(layer);
}

async function compareLayers({ model, layers }: PreparedModel, batches: readonly Batch[]): Promise<void> {
  // ScatterND of several threads loses additions in ONNX Runtime 1.30, and fused operators round activations.
  const walk = walkLayers({ model, layers }, batches, { threads: 1, optimization: 'basic' });
  const outputsOf = (index: number, passOn: boolean): Promise<OutputProbe> =>
    lookAt({ walk, model, batches }, index, { passOn }, () => outputProbe(model, layers[index]));
  try {
    for (const [index, layer] of layers.entries()) {
      const isFloat = computesInFloat(layer);
      const before = await outputsOf(index, false);
      emitFloat(model, layer, true);
      const after = await outputsOf(index, true).catch((error) => throwUnrunnable(model.path, layer, error));
      const differences = differencesOf(before.rows, after.rows);
      requireAlike(model.path, layer, isFloat ? exactly(differences) : roughly(differences));
    }
  } finally {
    walk.close();
  }
}

/** What a layer puts out for each token. */
interface OutputProbe extends Probe {
  rows: Float32Array[];
}

function outputProbe({ graph }: Model, { id, boundary, hidden }: MoeLayer): OutputProbe {
  const b = builder(graph, `moeq/${id}/output`);
  const output = b.op('Reshape', [b.cast(boundary!.output, 'float32'), b.ints([-1, hidden])]);
  const rows: Float32Array[] = [];
  return {
    rows,
    outputs: [output],
    take(results, batch) {
      const values = toFloats(results[output.name]);
      for (const { at } of positionsOf(batch, values.length / hidden))
        rows.push(values.slice(at * hidden, (at + 1) * hidden));
    },
  };
}

const misread = 'LAYER_MISREAD';

/** What was read cannot be what the file holds, which ran just before on the same tokens. */
function throwUnrunnable(path: string, { id }: MoeLayer, error: unknown): never {
  if (!isFault(error)) throw error;
  const what = `layer ${id} does not run as it was read, and does as it stands in the file`;
  throw misreadFault(path, what, reasonFor(error), error);
}

function requireAlike(path: string, layer: MoeLayer, { difference, tolerance }: Measure): void {
  if (difference <= tolerance) return;
  throw misreadFault(
    path,
    `layer ${layer.id} computes something else in the file than was read from it`,
    `run on the same tokens, their outputs differ by up to ${difference.toPrecision(2)} of their size`,
  );
}

function misreadFault(where: string, what: string, why: string, cause?: Fault): Fault {
  const remedy = 'this is a defect of moeq, please report it; export the model in another form';
  return new Fault({ code: misread, what, where, why, remedy }, { cause });
}
