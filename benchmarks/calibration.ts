/**
 * What calibration costs, as ratios within one run:
 *   node benchmarks/calibration.ts [--size 2048] [MODEL RECORDS]
 * GPTQ of one square matrix with ONNX Runtime's products, against the plain twin that tests judge it by and against
 * itself with products in JavaScript; and, for a model and its records, a run with statistics in the graph (maxima,
 * counts, XᵀX) against the same run without. All on one thread.
 */
import { parseArgs } from 'node:util';
import { seededRandom } from '../scripts/kill-run.ts';
import { calibrate } from '../src/calibrate/calibrate.ts';
import { makeBatches } from '../src/data/batches.ts';
import { declaredInputs } from '../src/data/model-input.ts';
import { readRecords } from '../src/data/records.ts';
import { openTokenizer } from '../src/data/tokenizer.ts';
import { emitLayer } from '../src/emit/emit-layer.ts';
import { floatExperts } from '../src/emit/float-experts.ts';
import { prepareModel } from '../src/moe/prepare-model.ts';
import { quantizeGptq } from '../src/quantize/gptq.ts';
import { median } from '../src/report/median.ts';
import { runBatches } from '../src/run/run-batches.ts';
import { ortGemm } from '../src/runtime/ort-gemm.ts';
import type { Gemm } from '../src/tensor/gemm.ts';
import { gemm } from '../src/tensor/gemm.ts';
import type { Matrix } from '../src/tensor/matrix.ts';
import { matrix, transpose } from '../src/tensor/matrix.ts';
import { gptqReference } from '../test/quantize/gptq-reference.ts';

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
  const quantize = (engine: Gemm) =>
    quantizeGptq(weight, hessian, { bits: 4, groupSize: size, gemm: engine });
  await quantize(ortGemm);
  const { ours, products, twin } = await medianSeconds(3, processorSeconds, {
    ours: async () => quantize(ortGemm),
    products: async () => quantize(gemm),
    twin: async () =>
      gptqReference(weight, hessian, { bits: 4, groupSize: size, damping: 0.01, activationOrder: true }),
  });
  console.log(`GPTQ of ${size} x ${size}: ${ours.toFixed(2)} s of processor time`);
  console.log(`  plain twin ${twin.toFixed(1)} s: ${(twin / ours).toFixed(1)} times`);
  console.log(
    `  with products in JavaScript ${products.toFixed(1)} s: ${(products / ours).toFixed(1)} times`,
  );
}

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
  const { statistics: own, canonical: form, plain: source } = await medianSeconds(5, wallSeconds, runs);
  console.log(`statistics over ${data.length} records: ${own.toFixed(2)} s`);
  console.log(`  inference in canonical form ${form.toFixed(2)} s: ${(own / form).toFixed(2)} times`);
  console.log(`  inference of the model as it is ${source.toFixed(2)} s: ${(own / source).toFixed(2)} times`);
}

/** Rounds visit every run in turn. */
async function medianSeconds<Name extends string>(
  rounds: number,
  now: () => number,
  runs: Record<Name, () => Promise<unknown>>,
): Promise<Record<Name, number>> {
  const names = Object.keys(runs) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const started = now();
      await runs[name]();
      times.get(name)!.push(now() - started);
    }
  }
  return Object.fromEntries([...times].map(([name, each]) => [name, median(each)])) as Record<Name, number>;
}

function wallSeconds(): number {
  return performance.now() / 1000;
}

function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
