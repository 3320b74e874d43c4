import { basename } from 'node:path';
import type { Batch } from '../data/batches.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import { positionsOf } from '../data/positions.ts';
import type { DataRecord } from '../data/record.ts';
import { madeUpRecords, sampleRecords } from '../data/sample-records.ts';
import { emitFloat } from '../emit/float-experts.ts';
import { Fault, isFault } from '../fault.ts';
import { expertWeights, linearsOf } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import { lookAt } from '../run/look-at.ts';
import type { Probe } from '../run/probe.ts';
import { walkLayers } from '../run/stage-walk.ts';
import { toFloats } from '../runtime/session.ts';

/**
 * Runs every layer as it stands in the file, and again written out in float, on the same inputs. All else that is
 * measured sets out from what was written out: where a layer was taken for something it is not, only this sees it.
 * Layers are run one by one, since a source form may hold its weights in a way of its own.
 * @param prepared a model just opened, which is changed
 * @param records a few of them are run, cut short; tokens are made up where there are none
 * @returns a note of why they were not compared; none where all layers agree
 * @throws Fault LAYER_MISREAD
 */
export async function checkSourceForm(
  prepared: PreparedModel,
  records: readonly DataRecord[],
): Promise<string[]> {
  const { model, layers } = prepared;
  const { path } = model;
  const tokens = Math.min(...layers.map(tokensAtATime));
  const isMadeUp = records.length === 0;
  const sample = isMadeUp ? madeUpRecords(model, tokens) : sampleRecords(records, tokens);
  if (sample.length === 0) return notCompared(path, 'there are no records, and it takes more than tokens');
  const memory = isMadeUp ? freely : Math.max(freely, process.availableMemory() / 2);
  if (layers.some((layer) => memoryOf(layer) > memory))
    return notCompared(path, 'to run one takes more memory than there is to spare');
  try {
    // One by one, for source forms may take padding for tokens.
    const batches = sample.flatMap((record) => [...makeBatches([record], declaredInputs(model))]);
    await compareLayers(prepared, batches);
    return [];
  } catch (error) {
    if (!isFault(error) || error.code === misread) throw error;
    return notCompared(path, [error.what, error.why].filter(Boolean).join(': '));
  }
}

function notCompared(path: string, why: string): string[] {
  const note = `the layers of ${basename(path)} were not run as they stand in the file, to be compared with what was read from it: ${why}`;
  return [note];
}

/** Weights that a source form may gather at a time, 256 MB: some do so for every token. */
const gathered = 2 ** 26;

function tokensAtATime({ hidden, intermediate, router: { topK, experts } }: MoeLayer): number {
  const perToken = (topK ?? experts) * hidden * intermediate;
  return Math.max(4, Math.min(32, Math.floor(gathered / perToken)));
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
      const before = await outputsOf(index, false);
      emitFloat(model, layer, true);
      const after = await outputsOf(index, true);
      requireAlike(model.path, layer, largestDifference(before.rows, after.rows));
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

/** Of a token, as a share of what the layer puts out on average. */
function largestDifference(before: readonly Float32Array[], after: readonly Float32Array[]): number {
  const sizes = before.map(energyOf);
  // Where the file itself makes no numbers, there is nothing to compare.
  const known = [...sizes.keys()].filter((token) => Number.isFinite(sizes[token]));
  const mean = known.reduce((sum, token) => sum + sizes[token], 0) / known.length;
  const differences = known.map((token) =>
    energyOf(before[token].map((value, i) => value - after[token][i])),
  );
  return Math.max(0, ...differences.map((difference) => shareOf(difference, mean)));
}

function energyOf(row: Float32Array): number {
  return row.reduce((sum, value) => sum + value ** 2, 0);
}

function shareOf(difference: number, mean: number): number {
  if (difference === 0) return 0;
  const share = Math.sqrt(difference / mean);
  return Number.isNaN(share) ? Infinity : share;
}

const misread = 'LAYER_MISREAD';

function requireAlike(path: string, layer: MoeLayer, difference: number): void {
  if (difference <= toleranceOf(layer)) return;
  throw new Fault({
    code: misread,
    what: `layer ${layer.id} computes something else in the file than was read from it`,
    where: path,
    why: `run on the same tokens, their outputs differ by up to ${difference.toPrecision(2)} of their size`,
    remedy: 'this is a defect of moeq, please report it; export the model in another form',
  });
}

const exactOps = new Set(['MatMul', 'Gemm', 'Einsum', 'Conv', 'MoE']);

/** Sums in float32 differ by their order alone; half floats, and operators of quantized weights, round on their way. */
function toleranceOf({ boundary, experts }: MoeLayer): number {
  const isFloat = (boundary!.output.dtype ?? boundary!.input.dtype) === 'float32';
  const linears = experts.flatMap(linearsOf);
  return isFloat && linears.every(({ node }) => exactOps.has(node.opType)) ? 1e-3 : 0.1;
}
