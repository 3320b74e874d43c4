/**
 * How long ONNX Runtime takes to load what is written, model by model: the same layers once, twice and four times. What grows
 * with the layers doubles each time; planning a graph in which every expert shows would take four times as long.
 *   node benchmarks/loading.ts [--layers 6] [--experts 32] [--rounds 3]
 * Weights are small (64 x 64), so that next to nothing but the graph counts.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { QuantizeConfig } from '../src/config/schema.ts';
import { configSchema } from '../src/config/schema.ts';
import { writeModel } from '../src/onnx/write-model.ts';
import { convert } from '../src/pipeline/convert.ts';
import { median } from '../src/report/median.ts';
import { openSession } from '../src/runtime/session.ts';
import { deepModel } from '../test/helpers/small-text-model.ts';

const { values } = parseArgs({
  options: {
    layers: { type: 'string', default: '6' },
    experts: { type: 'string', default: '32' },
    rounds: { type: 'string', default: '3' },
  },
});
const [layers, experts, rounds] = [values.layers, values.experts, values.rounds].map(Number);

const plain = { smoothing: { enabled: false }, rounding: { method: 'rtn' } };
const forms: [string, QuantizeConfig][] = [
  ['w4a4 int', configSchema.parse({ ...plain, scheme: 'w4a4', rotation: { down: 'none' } })],
  ['w4a16 nbits', configSchema.parse({ ...plain, scheme: 'w4a16', target: 'nbits', group: 32 })],
  ['w4a16 qdq', configSchema.parse({ ...plain, scheme: 'w4a16', target: 'qdq', group: 32 })],
];

const folder = mkdtempSync(join(tmpdir(), 'moeq-loading-'));
try {
  console.log(['form', ...[1, 2, 4].map((times) => `${times * layers} layers, s`), 'growth'].join('\t'));
  const sources = [1, 2, 4].map((times) => {
    const path = join(folder, `${times}.onnx`);
    writeModel(deepModel({ layers: times * layers, experts, hidden: 64, intermediate: 64 }), path);
    return path;
  });
  for (const [name, config] of forms) {
    const outputs = sources.map((model) => `${model}.q`);
    for (const [i, model] of sources.entries())
      await convert({ model, output: outputs[i], config, reportFolder: null, force: true }, () => {});
    await report(name, outputs);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function report(name: string, paths: readonly string[]): Promise<void> {
  const times: number[] = [];
  for (const path of paths) times.push(await loadSeconds(path));
  const growth = [1, 2].map((i) => (times[i] / times[i - 1]).toFixed(2));
  console.log([name, ...times.map((time) => time.toFixed(2)), growth.join(' ')].join('\t'));
}

async function loadSeconds(path: string): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const started = performance.now();
    const session = await openSession(path, { threads: 1 });
    times.push((performance.now() - started) / 1000);
    await session.release();
  }
  return median(times);
}
