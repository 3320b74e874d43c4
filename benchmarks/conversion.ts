/**
 * Weight-only round-to-nearest to 4 bits in blocks of 32, against ONNX Runtime's own quantizer on as many fp32 weights
 * (4096 x 4096 matrices): the kernels alone on one core, and whole conversions from file to file.
 *   node benchmarks/conversion.ts [--matrices 12]
 * ONNX Runtime's side needs Python with onnxruntime, onnx and onnx-ir: `python3`, or the one MOEQ_PYTHON names.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { configSchema } from '../src/config/schema.ts';
import { builder } from '../src/onnx/build.ts';
import { Graph } from '../src/onnx/graph.ts';
import { newModel } from '../src/onnx/model.ts';
import { Value } from '../src/onnx/value.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { convert } from '../src/pipeline/convert.ts';
import { quantizeRtn } from '../src/quantize/rtn.ts';
import { codeOf } from '../src/tensor/dtype.ts';
import { matrix } from '../src/tensor/matrix.ts';
import { packNibbles } from '../src/tensor/pack.ts';
import { seededRandom } from '../scripts/kill-run.ts';

const size = 4096;
const block = 32;
const random = seededRandom(1);
const weights = (count: number): Float32Array<ArrayBuffer> =>
  Float32Array.from({ length: count }, () => random() - 0.5);

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

/** File to file, in the process of the caller. */
async function conversionSeconds(folder: string, matrices: number): Promise<number> {
  const model = join(folder, 'layer.onnx');
  writeLayer(model, matrices / 3);
  const config = configSchema.parse({
    scheme: 'w4a16',
    target: 'nbits',
    group: block,
    smoothing: { enabled: false },
    rounding: { method: 'rtn' },
  });
  const output = join(folder, 'layer-nbits.onnx');
  const started = performance.now();
  await convert({ model, output, config, reportFolder: null, force: false }, () => {});
  return (performance.now() - started) / 1000;
}

interface Rival {
  kernel: number;
  conversion: number;
}

/** ONNX Runtime's figures; a message where it cannot be run. */
function rivalSeconds(folder: string, matrices: number): Rival | string {
  const script = join(import.meta.dirname, 'matmul-nbits.py');
  const python = process.env['MOEQ_PYTHON'] ?? 'python3';
  const run = spawnSync(python, [script, folder, String(size), String(matrices)], { encoding: 'utf8' });
  if (run.error) return run.error.message;
  if (run.status !== 0) return run.stderr.trim().split('\n').at(-1)!;
  return JSON.parse(run.stdout.trim().split('\n').at(-1)!) as Rival;
}

const { values } = parseArgs({ options: { matrices: { type: 'string', default: '12' } } });
const matrices = Number(values.matrices);
const folder = mkdtempSync(join(tmpdir(), 'moeq-benchmark-'));
try {
  const own = { kernel: kernelSeconds(), conversion: await conversionSeconds(folder, matrices) };
  const rival = rivalSeconds(folder, matrices);
  const bytes = { kernel: size * size * 4, conversion: size * size * 4 * matrices };
  const rate = (what: keyof Rival, seconds: number): string =>
    `${(bytes[what] / 1e6 / seconds).toFixed(0)} MB/s`;
  for (const what of ['kernel', 'conversion'] as const) {
    console.log(`${what}: ${rate(what, own[what])}`);
    if (typeof rival !== 'string')
      console.log(
        `  ONNX Runtime ${rate(what, rival[what])}: ${(rival[what] / own[what]).toFixed(2)} times as fast as it`,
      );
  }
  if (typeof rival === 'string') console.log(`no comparison with ONNX Runtime's quantizer: ${rival}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
