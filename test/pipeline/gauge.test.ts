import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { tryModel } from '../../scripts/ablate/try-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { joint, openGauge } from '../../src/pipeline/trials/gauge.ts';
import { swapColumns } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

type Form = Parameters<typeof bundledModel>[0];

const records = bundledRecords(calibrationData, 24);
const config = configFrom('rounding.method=rtn', 'smoothing.enabled=false', 'rotation.down=none');

const rounded = (form: Form): Promise<QuantizedModel> => quantizeModel(bundledModel(form), null, config);

test.each(['loop.dyn', 'grouped.hf'] as const)(
  'distances are those of a verification, of one model after the other: %s',
  async (form) => {
    const path = bundledModel(form);
    const [whole, broken] = [await rounded(form), await rounded(form)];
    swapColumns(broken.model, broken.layers[1].layer, 0, 1);
    const gauge = openGauge(path, records, { threads: 1 });
    onTestFinished(() => gauge.close());
    const distances = [];
    for (const { model } of [whole, broken]) {
      const distance = await gauge.distanceOf(model);
      const { output, layers } = await tryModel(path, model, records, { threads: 1 });
      const agreement = layers.map(({ router }) => router.cumulative.topKAgreement);
      expect(distance.divergence).toBeCloseTo(output.kl, 7);
      expect(1 - distance.rerouted).toBeCloseTo(
        agreement.reduce((sum, each) => sum + each, 0) / layers.length,
        12,
      );
      distances.push(joint(distance));
    }
    expect(distances[1]).toBeGreaterThan(2 * distances[0]);
    expect(joint(await gauge.distanceOf(whole.model))).toBe(distances[0]);
  },
);

test('a model whose outputs are no numbers is not taken for near', async () => {
  const { model } = await rounded('batched.dyn');
  const scale = [...model.graph.constants].find(({ name }) => name.endsWith('down/scales'))!;
  const { dtype, shape, byteLength } = scale.tensor!.source;
  scale.tensor = makeTensor(scale.name, dtype, shape, new Uint8Array(byteLength).fill(0xff));
  const gauge = openGauge(bundledModel('batched.dyn'), records.slice(0, 2), { threads: 1 });
  onTestFinished(() => gauge.close());
  await expect(gauge.distanceOf(model)).rejects.toMatchObject({ code: 'OUTPUT_NOT_FINITE' });
});

test('nothing is run before the first model comes, and nothing is left on disk in the end', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-gauge-'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });
  await openGauge('no such file', records, {}).close();
  const { model } = await rounded('fused.moe');
  vi.stubEnv('TMPDIR', folder);
  const gauge = openGauge(bundledModel('fused.moe'), records.slice(0, 2), { threads: 1 });
  await gauge.distanceOf(model);
  expect(readdirSync(folder)).toHaveLength(1);
  await gauge.close();
  expect(readdirSync(folder)).toEqual([]);
});
