/**
 * Weight-only round-to-nearest to 4 bits in blocks of 32, against ONNX Runtime's own quantizer on as many fp32 weights
 * (4096 x 4096 matrices): the kernels alone on one core, and whole conversions from file to file, by turns; medians of
 * the rounds count. Processor time, which a busy machine distorts less, stands beside the wall time.
 *   node benchmarks/conversion.ts [--matrices 24] [--rounds 3] [--threads N]
 * Both sides may use all cores; `--threads` limits this one. It ends with every linear it wrote executed and compared,
 * which the other does not do.
 * ONNX Runtime's side needs Python with onnxruntime, onnx and onnx-ir: `python3`, or the one MOEQ_PYTHON names.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { seededRandom } from '../scripts/kill-run.ts';
import { configSchema } from '../src/config/schema.ts';
import { threadedWorkshop } from '../src/jobs/threads/threaded-workshop.ts';
import { builder } from '../src/onnx/build.ts';
import { Graph } from '../src/onnx/graph.ts';
import { newModel } from '../src/onnx/model.ts';
import { Value } from '../src/onnx/value.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { convert } from '../src/pipeline/convert.ts';
import { quantizeRtn } from '../src/quantize/rtn.ts';
import { median } from '../src/report/median.ts';
import { codeOf } from '../src/tensor/dtype.ts';
import { matrix } from '../src/tensor/matrix.ts';
import { packNibbles } from '../src/tensor/pack.ts';

const size = 4096;
const block = 32;
const random = seededRandom(1);
const pattern = Float32Array.from({ length: 1_000_003 }, () => random() - 0.5);

function weights(count: number): Float32Array<ArrayBuffer> {
  const result = new Float32Array(count);
  for (let at = 0; at < count; at += pattern.length) result.set(pattern.subarray(0, count - at), at);
  return result;
}

/** Best of several runs: codes, scales and packing of one matrix. */
function kernelSeconds(): number {
  const weight = matrix(size, size, weights(size * size));
  const times = Array.from({ length: 8 }, () => {
    const started = performance.now();
    packNibbles(quantizeRtn(weight, { bits: 4, groupSize: block }).codes);
    return performance.now() - started;
  });
  return Math.min(...times) / 1000;
}

/** A layer whose experts are three square matrices each (gate, up, down), in one file with external data. */
function writeLayer(path: string, experts: number): void {
  const graph = new Graph('layer');
  const dim = [{ dimParam: 'tokens' }, { dimValue: size }];
  const declared = (name: string): Value =>
    new Value(name, { name, type: { tensorType: { elemType: codeOf('float32'), shape: { dim } } } });
  const input = declared('x');
  graph.inputs = [input];
  const b = builder(graph, '');
  const constant = (name: string, shape: number[]): Value =>
    b.constant(name, 'float32', shape, weights(shape.reduce((product, each) => product * each, 1)));
  const logits = b.op('MatMul', [input, constant('router', [size, experts])]);
  const fc1 = constant('fc1', [experts, 2 * size, size]);
  const fc2 = constant('fc2', [experts, size, size]);
  const attributes = { k: 2, activation_type: 'swiglu', swiglu_fusion: 2 };
  const output = b.op('MoE', [input, logits, fc1, null, fc2], attributes, { domain: 'com.microsoft' });
  output.info = declared(output.name).info;
  graph.outputs = [output];
  writeModel(newModel(graph, { '': 21, 'com.microsoft': 1 }, 10), path, { externalData: true });
}

/** File to file, as `moeq quantize` does it. */
async function convertOnce(
  model: string,
  output: string,
  threads: number,
): Promise<Pick<Reading, 'conversion' | 'processor'>> {
  const config = configSchema.parse({
    scheme: 'w4a16',
    target: 'nbits',
    group: block,
    smoothing: { enabled: false },
    rounding: { method: 'rtn' },
  });
  const [started, before] = [performance.now(), process.cpuUsage()];
  const workshop = threadedWorkshop(model, threads);
  await convert({ model, output, config, reportFolder: null, force: true }, () => {}, workshop);
  await workshop.close();
  const { user, system } = process.cpuUsage(before);
  return { conversion: (performance.now() - started) / 1000, processor: (user + system) / 1e6 };
}

/** Seconds of one matrix, and of one whole conversion; `processor` is what the latter took of all cores. */
interface Reading {
  kernel: number;
  conversion: number;
  processor: number;
}

/** ONNX Runtime's figures; a message where it cannot be run. */
function rivalSeconds(folder: string, matrices: number): Reading | string {
  const script = join(import.meta.dirname, 'matmul-nbits.py');
  const python = process.env['MOEQ_PYTHON'] ?? 'python3';
  const run = spawnSync(python, [script, folder, String(size), String(matrices)], { encoding: 'utf8' });
  if (run.error) return run.error.message;
  if (run.status !== 0) return run.stderr.trim().split('\n').at(-1)!;
  return JSON.parse(run.stdout.trim().split('\n').at(-1)!) as Reading;
}

const { values } = parseArgs({
  options: {
    matrices: { type: 'string', default: '24' },
    rounds: { type: 'string', default: '3' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const [matrices, rounds, threads] = [values.matrices, values.rounds, values.threads].map(Number);
const whole = size * size * 4 * matrices;
const bytes = { kernel: size * size * 4, conversion: whole, processor: whole };
const rate = (what: keyof Reading, seconds: number): string =>
  `${(bytes[what] / 1e6 / seconds).toFixed(0)} MB/s`;
const medianOf = (readings: readonly Reading[], what: keyof Reading): number =>
  median(readings.map((reading) => reading[what]));
const describe = (name: string, { conversion, processor }: Reading): string =>
  `${name} ${rate('conversion', conversion)} (${processor.toFixed(1)} s of processor time)`;

const folder = mkdtempSync(join(tmpdir(), 'moeq-benchmark-'));
// Threads start as fast as those of the built package, which need no types stripped.
enableCompileCache(join(folder, 'compiled'));
try {
  const model = join(folder, 'layer.onnx');
  writeLayer(model, matrices / 3);
  const [own, rival]: Reading[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const output = join(folder, `round-${round}.onnx`);
    own.push({ kernel: kernelSeconds(), ...(await convertOnce(model, output, threads)) });
    for (const file of [output, `${output}.data`]) rmSync(file, { force: true });
    const other = rivalSeconds(folder, matrices);
    if (typeof other === 'string') console.log(`no comparison with ONNX Runtime's quantizer: ${other}`);
    else rival.push(other);
    const texts = [
      describe('moeq', own.at(-1)!),
      ...rival.slice(-1).map((each) => describe('ONNX Runtime', each)),
    ];
    console.log(`round ${round + 1}: ${texts.join(', ')}, load ${loadavg()[0].toFixed(1)}`);
  }
  for (const what of ['kernel', 'conversion', 'processor'] as const) {
    const seconds = medianOf(own, what);
    console.log(`${what}: ${rate(what, seconds)}`);
    if (rival.length === 0) continue;
    const ratio = (medianOf(rival, what) / seconds).toFixed(2);
    console.log(`  ONNX Runtime ${rate(what, medianOf(rival, what))}: ${ratio} times as fast as it`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
