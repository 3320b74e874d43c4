/**
 * Writes a synthetic fp16 Mixture-of-Experts checkpoint with external data, of about so many gigabytes.
 *   node scripts/make-large-checkpoint.ts FOLDER --gb 12 [--experts 64]
 * Each layer has so many experts of 2048 x 1408 (gate, up, down), as one `com.microsoft.MoE` behind a softmax router.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Builder } from '../src/onnx/build.ts';
import { builder } from '../src/onnx/build.ts';
import { Graph } from '../src/onnx/graph.ts';
import { newModel } from '../src/onnx/model.ts';
import { Value } from '../src/onnx/value.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { byteLengthOf, codeOf, countOf } from '../src/tensor/dtype.ts';
import { floatToHalf } from '../src/tensor/half.ts';
import type { ByteSource } from '../src/tensor/source.ts';
import { seededRandom } from './kill-run.ts';

export const hidden = 2048;
const intermediate = 1408;

/** @returns the model's path and the bytes of its weights */
export function makeLargeCheckpoint(
  folder: string,
  gigabytes: number,
  experts = 64,
): { path: string; bytes: number } {
  const layerBytes = experts * hidden * intermediate * 3 * 2;
  const layers = Math.max(1, Math.round((gigabytes * 1e9) / layerBytes));
  const graph = new Graph('large');
  const input = activations('hidden_states');
  graph.inputs = [input];
  let stream: Value = input;
  for (let layer = 0; layer < layers; layer++)
    stream = addLayer(builder(graph, `layers.${layer}`), stream, experts);
  stream.info = activations(stream.name).info;
  graph.outputs = [stream];
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `large-${gigabytes}gb.onnx`);
  const model = newModel(graph, { '': 21, 'com.microsoft': 1 }, 10);
  writeModel(model, path, { externalData: true, force: true });
  return { path, bytes: layers * layerBytes };
}

function addLayer(b: Builder, stream: Value, experts: number): Value {
  const rows = b.op('Reshape', [stream, b.ints([-1, hidden])]);
  const logits = b.op('MatMul', [rows, weight(b, 'router', [hidden, experts])], {}, { name: 'router' });
  const result = b.op(
    'MoE',
    [
      rows,
      logits,
      weight(b, 'fc1', [experts, 2 * intermediate, hidden]),
      null,
      weight(b, 'fc2', [experts, hidden, intermediate]),
    ],
    {
      k: Math.min(6, experts),
      activation_type: 'swiglu',
      swiglu_fusion: 1,
      activation_alpha: { f: 1 },
      activation_beta: { f: 0 },
    },
    { domain: 'com.microsoft', name: 'moe' },
  );
  return b.op('Add', [stream, b.op('Reshape', [result, b.op('Shape', [stream])])]);
}

function weight(b: Builder, name: string, shape: readonly number[]): Value {
  return b.constant(name, 'float16', shape, endless(byteLengthOf('float16', countOf(shape))));
}

/** Normal numbers of deviation 0.02, repeated: what matters is that every byte is there and read. */
const pattern = ((): Uint8Array => {
  const random = seededRandom(1);
  const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return new Uint8Array(Uint16Array.from({ length: 1_000_003 }, () => floatToHalf(normal() * 0.02)).buffer);
})();

function endless(byteLength: number): ByteSource {
  return {
    byteLength,
    read(offset = 0, length = byteLength - offset) {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length;) {
        const from = (offset + done) % pattern.length;
        const part = pattern.subarray(from, from + length - done);
        bytes.set(part, done);
        done += part.length;
      }
      return bytes;
    },
  };
}

function activations(name: string): Value {
  const dim = [{ dimParam: 'batch' }, { dimParam: 'sequence' }, { dimValue: hidden }];
  return new Value(name, { name, type: { tensorType: { elemType: codeOf('float16'), shape: { dim } } } });
}

if (process.argv[1] === import.meta.filename) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { gb: { type: 'string', default: '3' }, experts: { type: 'string', default: '64' } },
  });
  const [gigabytes, experts] = [Number(values.gb), Number(values.experts)];
  const { path, bytes } = makeLargeCheckpoint(positionals[0] ?? '.', gigabytes, experts);
  console.log(`${path}: ${(bytes / 1e9).toFixed(2)} GB of weights`);
}
