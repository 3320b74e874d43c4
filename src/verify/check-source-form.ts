import { basename } from 'node:path';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import { positionsOf } from '../data/positions.ts';
import type { DataRecord } from '../data/record.ts';
import { madeUpRecords, sampleRecords } from '../data/sample-records.ts';
import { emitFloat } from '../emit/float-experts.ts';
import { Fault, isFault } from '../fault.ts';
import { linearsOf } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import { runProbes } from '../run/run-probes.ts';

/**
 * Runs every layer as it stands in the file beside the same one written out in float, on the same inputs. All else that
 * is measured sets out from what was written out: where a layer was taken for something it is not, only this sees it.
 * @param records a few of them are run, cut short; tokens are made up where there are none
 * @returns a note of why they were not compared; none where all layers agree
 * @throws Fault LAYER_MISREAD
 */
export async function checkSourceForm(
  open: () => PreparedModel,
  records: readonly DataRecord[],
  { byLayer = false }: { byLayer?: boolean } = {},
): Promise<string[]> {
  const { model, layers } = open();
  const tokens = Math.min(...layers.map(tokensAtATime));
  const sample = records.length > 0 ? sampleRecords(records, tokens) : madeUpRecords(model, tokens);
  if (sample.length === 0) return notCompared(model, 'there are no records, and it takes more than tokens');
  const worst = layers.map(() => 0);
  const attach = (made: Model, layer: MoeLayer, index: number): Probe =>
    differenceProbe(made, layer, byLayer, (difference) => {
      worst[index] = Math.max(worst[index], difference);
    });
  try {
    // One by one, for source forms may take padding for tokens.
    const batches = sample.flatMap((record) => [...makeBatches([record], declaredInputs(model))]);
    // ScatterND of several threads loses additions in ONNX Runtime 1.30, and fused operators round activations.
    await runProbes(open, batches, attach, { byLayer, threads: 1, optimization: 'basic' });
  } catch (error) {
    if (!isFault(error)) throw error;
    return notCompared(model, [error.what, error.why].filter(Boolean).join(': '));
  }
  layers.forEach((layer, i) => requireAlike(model.path, layer, worst[i]));
  return [];
}

function notCompared({ path }: Model, why: string): string[] {
  const note = `the layers of ${basename(path)} were not run as they stand in the file, to be compared with what was read from it: ${why}`;
  return [note];
}

/** Weights that a source form may gather at a time, 256 MB: some do so for every token. */
const gathered = 2 ** 26;

function tokensAtATime({ hidden, intermediate, router: { topK, experts } }: MoeLayer): number {
  const perToken = (topK ?? experts) * hidden * intermediate;
  return Math.max(4, Math.min(32, Math.floor(gathered / perToken)));
}

/** Tells of each batch the largest difference of a token, as a share of what its layer puts out on average. */
function differenceProbe(
  model: Model,
  layer: MoeLayer,
  isAlone: boolean,
  tell: (difference: number) => void,
): Probe {
  const { output } = layer.boundary!;
  const maker = output.producer!;
  const at = maker.outputs.indexOf(output);
  emitFloat(model, layer, isAlone);
  const b = builder(model.graph, `moeq/${layer.id}/source`);
  const [before, after] = [maker.outputs[at]!, output].map((value) => rowsOf(b, value, layer.hidden));
  const [difference, size] = [b.op('Sub', [before, after]), before].map((rows) => energyOf(b, rows));
  return {
    outputs: [difference, size],
    take(results, batch) {
      const [differences, sizes] = [difference, size].map(({ name }) => results[name].data as Float32Array);
      // Where the file itself makes no numbers, there is nothing to compare.
      const rows = [...positionsOf(batch, sizes.length)].filter(({ at: row }) => Number.isFinite(sizes[row]));
      const mean = rows.reduce((sum, { at: row }) => sum + sizes[row], 0) / rows.length;
      for (const { at: row } of rows) tell(shareOf(differences[row], mean));
    },
  };
}

function shareOf(difference: number, mean: number): number {
  if (difference === 0) return 0;
  const share = Math.sqrt(difference / mean);
  return Number.isNaN(share) ? Infinity : share;
}

function rowsOf(b: Builder, value: Value, hidden: number): Value {
  return b.op('Reshape', [b.op('Cast', [value], { to: 1 }), b.ints([-1, hidden])]);
}

/** The sum of squares of each row. */
function energyOf(b: Builder, rows: Value): Value {
  return b.op('ReduceSumSquare', [rows, b.ints([1])], { keepdims: 0 });
}

function requireAlike(path: string, layer: MoeLayer, difference: number): void {
  if (difference <= toleranceOf(layer)) return;
  throw new Fault({
    code: 'LAYER_MISREAD',
    what: `layer ${layer.id} computes something else in the file than was read from it`,
    where: path,
    why: `run side by side, their outputs differ by up to ${difference.toPrecision(2)} of their size`,
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
