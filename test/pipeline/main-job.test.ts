import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as Ort from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ConversionResult } from '../../src/pipeline/convert.ts';
import { convert } from '../../src/pipeline/convert.ts';
import { bundledModel, calibrationData, configFrom, evaluationData } from '../helpers/bundled.ts';

const ort = createRequire(import.meta.url)('onnxruntime-node') as typeof Ort;

let folder: string;
let result: ConversionResult;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-main-'));
  const config = configFrom(
    `data=${calibrationData}`,
    `verify.data=${evaluationData}`,
    'gates.min.topKAgreement=0.9',
  );
  const [model, output] = [bundledModel('batched.dyn'), join(folder, 'out.onnx')];
  result = await convert(
    { model, output, config, reportFolder: join(folder, 'report'), force: false },
    () => {},
  );
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('w4a4 of the bundled model', () => {
  test('keeps at least 0.95 of the exact matches, over all tasks', () => {
    const tasks = Object.values(result.report!.tasks);
    const mean = (side: 'reference' | 'quantized'): number =>
      tasks.reduce((sum, task) => sum + task[side], 0) / tasks.length;
    expect(tasks).toHaveLength(8);
    expect(mean('reference')).toBeCloseTo(0.921, 2);
    expect(mean('quantized')).toBeGreaterThanOrEqual(0.95 * mean('reference'));
  });

  test('the routers still choose the same experts', () => {
    for (const { router } of result.report!.layers) {
      // Realigned to the quantized model's states, it gives up a little on the original ones.
      expect(router.local.topKAgreement).toBeGreaterThan(0.97);
      expect(router.cumulative.topKAgreement).toBeGreaterThan(0.97);
    }
    expect(result.report!.gates).toMatchObject([{ name: 'topKAgreement', ok: true }]);
  });

  test('expert weights take at most 4.3 bits, scales included, and the census adds up', () => {
    expect(result.expertBitsPerWeight).toBeLessThanOrEqual(4.3);
    const expert = result.census.find(({ role }) => role === 'expert')!;
    expect(expert.keptBytes).toBe(0);
    const total = result.census.reduce(
      (sum, { quantizedBytes, keptBytes }) => sum + quantizedBytes + keptBytes,
      0,
    );
    expect(total).toBeLessThan(result.bytes.after);
    expect(total).toBeGreaterThan(0.5 * result.bytes.after);
  });

  test('nothing but the model and its report is left', () => {
    expect(readdirSync(folder).toSorted()).toEqual(['out.onnx', 'report']);
    expect(readdirSync(join(folder, 'report')).toSorted()).toEqual(['report.html', 'report.json']);
  });

  test.each([
    [1, 1],
    [1, 40],
    [3, 7],
  ])('runs in ONNX Runtime by itself, batch %i, sequence %i, near the original', async (batch, sequence) => {
    const ids = BigInt64Array.from({ length: batch * sequence }, (_, i) => BigInt(97 + ((i * 7) % 26)));
    const feeds = { input_ids: new ort.Tensor('int64', ids, [batch, sequence]) };
    const outputs = [];
    for (const path of [bundledModel('batched.dyn'), join(folder, 'out.onnx')]) {
      const session = await ort.InferenceSession.create(path);
      outputs.push((await session.run(feeds)).logits);
      await session.release();
    }
    const [reference, quantized] = outputs.map(({ data }) => data as Float32Array);
    expect(outputs[1].dims).toEqual([batch, sequence, 128]);
    const error = reference.reduce((sum, value, i) => sum + (value - quantized[i]) ** 2, 0);
    const power = reference.reduce((sum, value) => sum + value ** 2, 0);
    expect(error / power).toBeLessThan(0.1);
    expect(error).toBeGreaterThan(0);
  });
});
