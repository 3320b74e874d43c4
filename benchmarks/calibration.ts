/**
 * What calibration costs, as ratios within one run:
 *   node benchmarks/calibration.ts [--size 2048] [MODEL RECORDS]
 * GPTQ of one square matrix with ONNX Runtime's products against the plain JavaScript twin; and, for a model and its
 * records, a run with statistics in the graph (maxima, counts, XᵀX) against the same run without. Both one thread.
 */
import { parseArgs } from 'node:util';
import { calibrate } from '../src/calibrate/calibrate.ts';
import { runBatches } from '../src/calibrate/run-batches.ts';
import { makeBatches } from '../src/data/batches.ts';
import { declaredInputs } from '../src/data/declared-inputs.ts';
import { emitLayer } from '../src/emit/emit-layer.ts';
import { floatExperts } from '../src/emit/float-experts.ts';
import { readRecords } from '../src/data/records.ts';
import { openTokenizer } from '../src/data/tokenizer.ts';
import { prepareModel } from '../src/moe/prepare-model.ts';
import { quantizeGptq } from '../src/quantize/gptq.ts';
import { ortGemm } from '../src/runtime/ort-gemm.ts';
import type { Gemm } from '../src/tensor/gemm.ts';
import { gemm } from '../src/tensor/gemm.ts';
import type { Matrix } from '../src/tensor/matrix.ts';
import { matrix, transpose } from '../src/tensor/matrix.ts';
import { median } from '../src/report/median.ts';
import { seededRandom } from '../scripts/kill-run.ts';

const rounds = 5;

const { values, positionals } = parseArgs({
  options: { size: { type: 'string', default: '2048' } },
  allowPositionals: true,
});
await timeGptq(Number(values.size));
const [model, records] = positionals;
if (model && records) await timeStatistics(model, records);
else console.log('statistics: skipped, give a model and its records');

async function timeGptq(size: number): Promise<void> {
  const random = seededRandom(1);
  const noise = (): Matrix =>
    matrix(
      size,
      size,
      Float32Array.from({ length: size * size }, () => random() - 0.5),
    );
  const weight = noise();
  const tokens = noise();
  const hessian = await ortGemm(transpose(tokens), tokens);
  const run = async (engine: Gemm): Promise<number> =>
    secondsOf(() => quantizeGptq(weight, hessian, { bits: 4, groupSize: size, gemm: engine }));
  await run(ortGemm);
  const fast = Math.min(await run(ortGemm), await run(ortGemm));
  const slow = await run(gemm);
  const figures = `${fast.toFixed(2)} s, JavaScript twin ${slow.toFixed(1)} s: ${(slow / fast).toFixed(1)} times as fast`;
  console.log(`GPTQ of ${size} x ${size}: ${figures}`);
}

/** Rounds visit both runs in turn. */
async function timeStatistics(path: string, recordPath: string): Promise<void> {
  const data = readRecords(recordPath, openTokenizer(null, path));
  const batches = [...makeBatches(data, declaredInputs(prepareModel(path).model))];
  const open = (): ReturnType<typeof prepareModel> => prepareModel(path);
  const plain = (): Promise<void> => {
    const { model } = open();
    return runBatches(model, batches, { valid: null }, { threads: 1 }, () => {});
  };
  // What calibration runs, without its statistics: every layer in canonical form, so that experts run their own tokens only.
  const canonical = (): Promise<void> => {
    const { model, layers } = open();
    for (const layer of layers) emitLayer(model, layer, floatExperts(layer));
    model.graph.removeDeadCode();
    return runBatches(model, batches, { valid: null }, { threads: 1 }, () => {});
  };
  const statistics = (): Promise<unknown> => calibrate(open, batches, { gram: true, threads: 1 });
  const runs = { statistics, canonical, plain };
  const times: Record<string, number[]> = { statistics: [], canonical: [], plain: [] };
  for (let round = 0; round < rounds; round++)
    for (const [name, run] of Object.entries(runs)) times[name].push(await secondsOf(run));
  const [own, form, source] = Object.values(times).map(median);
  console.log(`statistics over ${data.length} records: ${own.toFixed(2)} s`);
  console.log(`  inference in canonical form ${form.toFixed(2)} s: ${(own / form).toFixed(2)} times`);
  console.log(`  inference of the model as it is ${source.toFixed(2)} s: ${(own / source).toFixed(2)} times`);
}

async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}
