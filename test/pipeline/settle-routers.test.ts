import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { reportCalibration } from '../../src/pipeline/report-calibration.ts';
import { holdOut } from '../../src/pipeline/routers/hold-out.ts';
import { checksOf } from '../../src/pipeline/write-experts.ts';
import type { Report } from '../../src/report/report.ts';
import { takeCensus } from '../../src/verify/census.ts';
import { checkParity } from '../../src/verify/check-parity.ts';
import { verify } from '../../src/verify/verify.ts';
import {
  bundledModel,
  bundledRecords,
  calibrationData,
  configFrom,
  dataFree,
  evaluationData,
} from '../helpers/bundled.ts';

const path = bundledModel('loop.ts');
const data = { records: bundledRecords(calibrationData, 48), pool: [] };
const settings = [...dataFree, 'rotation.down=none', 'calibration.balance.enabled=false'];

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'moeq-routers-'))));
afterAll(() => rmSync(folder, { recursive: true }));

async function quantized(...more: string[]): Promise<QuantizedModel> {
  return quantizeModel(path, data, configFrom(...settings, ...more));
}

async function verified({ model }: QuantizedModel, name: string): Promise<Report> {
  const output = join(folder, `${name}.onnx`);
  writeModel(model, output);
  return verify(path, output, bundledRecords(evaluationData, 60), { attribution: false });
}

function meanAgreement({ layers }: Report): number {
  return layers.reduce((sum, { router }) => sum + router.cumulative.topKAgreement, 0) / layers.length;
}

describe('routers in 8 bits', () => {
  let result: QuantizedModel;
  beforeAll(async () => (result = await quantized('router.bits=8')));

  test('are multiplied in integers, and counted as quantized', () => {
    for (const id of ['L0', 'L1', 'L2']) {
      // Which of two integer products serves is found out where the model is loaded.
      const choice = result.model.graph.nodes.find(({ name }) => name === `moeq/${id}/router/products`)!;
      const branches = [...choice.subgraphs.values()]
        .flat()
        .map(({ nodes }) => nodes.map(({ opType }) => opType));
      expect(branches).toHaveLength(2);
      for (const operators of branches) expect(operators).toContain('MatMulInteger');
    }
    const { rows } = takeCensus(prepareModel(path), result.model);
    const router = rows.find(({ role }) => role === 'router')!;
    // Codes of 16 experts by 128 channels and a float16 scale for each expert, in three layers.
    expect(router).toMatchObject({ quantizedBytes: 3 * (16 * 128 + 16 * 2), keptBytes: 0 });
  });

  test('have parity, and lose it with a damaged weight', async () => {
    const output = join(folder, 'parity.onnx');
    writeModel(result.model, output);
    const written = openModel(output);
    await expect(checkParity(written, checksOf(result))).resolves.toBeUndefined();
    const weight = [...written.graph.constants].find(({ name }) => name === 'moeq/L1/router/linear/weight')!;
    const { dtype, shape } = weight.tensor!.source;
    const negated = Int8Array.from(weight.tensor!.source.read(), (byte) => -byte);
    weight.tensor = makeTensor(weight.name, dtype, shape, new Uint8Array(negated.buffer));
    await expect(checkParity(written, checksOf(result))).rejects.toMatchObject({
      code: 'PARITY',
      where: 'L1/router',
    });
  });

  test('choose nearly as before on the same input, and the report says how they were clipped', async () => {
    const report = await verified(result, 'bits');
    for (const { router } of report.layers) {
      expect(router.local.topKAgreement).toBeGreaterThan(0.97);
      expect(router.local.mse).toBeGreaterThan(0);
    }
    expect(report.recipe).toMatchObject({ router: { bits: 8 } });
    for (const { router } of reportCalibration(result)!.layers) {
      expect(router!.clip!.ratio).toBeGreaterThan(0.3);
      expect(router!.clip!.squaredError).toBeGreaterThan(0);
      expect(router!.clip!.divergence).toBeGreaterThan(0);
      expect(router!.realignment).toBeUndefined();
    }
  });

  test('stay portable in target qdq', async () => {
    const portable = await quantized('router.bits=8', 'target=qdq');
    await expect(checkParity(portable.model, checksOf(portable))).resolves.toBeUndefined();
    expect(portable.model.graph.nodes.map(({ domain }) => domain)).not.toContain('com.microsoft');
  });
});

describe('realigned routers', () => {
  let result: QuantizedModel;
  beforeAll(async () => (result = await quantized('router.realign=true', 'scheme=w2a4')));

  test('are kept only where held-out records agree more, and the report says what was decided', () => {
    const decisions = reportCalibration(result)!.layers.map(({ router }) => router!.realignment!);
    const kept = decisions.filter(({ ridge }) => ridge !== null);
    expect(kept.length).toBeGreaterThan(0);
    for (const { agreement } of kept) expect(agreement.after).toBeGreaterThan(agreement.before);
    // The first router reads what no quantized expert has touched.
    expect(decisions[0]).toEqual({ ridge: null, agreement: { before: 1, after: 1 } });
  });

  test('agree more with the original on records that calibration never saw', async () => {
    const plain = await verified(await quantized('scheme=w2a4'), 'plain');
    const realigned = await verified(result, 'realigned');
    expect(meanAgreement(realigned)).toBeGreaterThan(meanAgreement(plain));
    const router = realigned.census.find(({ role }) => role === 'router')!;
    expect(router).toEqual(plain.census.find(({ role }) => role === 'router'));
  });

  test('have the agreement that verification of the whole model finds on the records held out', async () => {
    const output = join(folder, 'held-out.onnx');
    writeModel(result.model, output);
    const { layers } = await verify(path, output, holdOut(data.records).heldOut, { attribution: false });
    const decisions = reportCalibration(result)!.layers.map(({ router }) => router!.realignment!);
    layers.forEach(({ router }, i) =>
      expect(router.cumulative.topKAgreement).toBeCloseTo(decisions[i].agreement.after, 3),
    );
  });

  test.each(['fused.moe', 'batched.dyn'] as const)('are decided alike in %s', async (form) => {
    const config = configFrom(...settings, 'router.realign=true', 'scheme=w2a4');
    const { routers } = await quantizeModel(bundledModel(form), data, config);
    routers.realignment!.forEach(({ agreement, ridge }, i) => {
      expect(ridge).toBe(result.routers.realignment![i].ridge);
      expect(agreement.after).toBeCloseTo(result.routers.realignment![i].agreement.after, 3);
    });
  });

  test('come out the same each time', async () => {
    const again = await quantized('router.realign=true', 'scheme=w2a4');
    expect(Buffer.compare(encodeModel(again.model), encodeModel(result.model))).toBe(0);
  });

  test('need records to hold out', async () => {
    const few = { records: data.records.slice(0, 3), pool: [] };
    const run = quantizeModel(path, few, configFrom(...settings, 'router.realign=true'));
    await expect(run).rejects.toMatchObject({ code: 'REALIGN_RECORDS' });
  });
});
