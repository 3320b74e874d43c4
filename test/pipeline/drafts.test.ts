import { expect, onTestFinished, test } from 'vitest';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { readModelRecord } from '../../src/moe/model-record.ts';
import type { Model } from '../../src/onnx/model.ts';
import type { Value } from '../../src/onnx/value.ts';
import { openCalibrator } from '../../src/pipeline/calibrator.ts';
import type { Variant } from '../../src/pipeline/layer/variant.ts';
import type { Drafts } from '../../src/pipeline/trials/drafts.ts';
import { openDrafts } from '../../src/pipeline/trials/drafts.ts';
import { joint, openGauge } from '../../src/pipeline/trials/gauge.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const path = bundledModel('fused.moe');
const config = configFrom('rounding.method=rtn', 'calibration.balance.enabled=false');
const records = bundledRecords(calibrationData, 16);

const rotated = (down: Variant['down']): Variant => ({ down, affinity: false });

async function openTestDrafts(): Promise<{ drafts: Drafts; made: string[] }> {
  const made: string[] = [];
  const calibrator = await openCalibrator(path, { records, pool: [] }, config, () => {}, plainWorkshop);
  const common = {
    path,
    config,
    resolved: resolveTarget(config),
    calibrator,
  };
  const workshop: typeof plainWorkshop = {
    ...plainWorkshop,
    quantizeExperts(order) {
      made.push(`${order.layer.id} ${order.recipe.rotation.hidden}`);
      return plainWorkshop.quantizeExperts(order);
    },
  };
  const gauge = openGauge(path, records, {});
  onTestFinished(() => gauge.close());
  const drafts = openDrafts(common, gauge, false, { progress: () => {}, workshop });
  return { drafts, made };
}

/** Bytes of the weights of a layer, by name. */
function weightsOf({ graph }: Model, layer: string): [string, Uint8Array][] {
  const isWeight = ({ name }: Value): boolean => name.includes(`/${layer}.`) && name.endsWith('/weight');
  return [...graph.constants].filter(isWeight).map(({ name, tensor }) => [name, tensor!.source.read()]);
}

test('layers of two drafts are written in one model, and not made again', async () => {
  const { drafts, made } = await openTestDrafts();
  const [plain, blocks] = [rotated('none'), rotated('hadamard')];
  const first = await drafts.write([plain, plain, plain]);
  const second = await drafts.write([blocks, blocks, blocks]);
  expect(made).toHaveLength(6);
  const mixed = await drafts.write([blocks, plain, blocks]);
  expect(made).toHaveLength(6);
  expect(mixed.layers.map(({ rotation }) => rotation.hidden)).toEqual([16, null, 16]);
  expect(readModelRecord(mixed.model)!.layers.map(({ rotation }) => rotation?.hidden)).toEqual([
    16,
    undefined,
    16,
  ]);
  for (const [layer, draft] of [
    ['L0', second],
    ['L1', first],
    ['L2', second],
  ] as const) {
    const weights = weightsOf(mixed.model, layer);
    expect(weights.length).toBeGreaterThan(0);
    expect(weights).toEqual(weightsOf(draft.model, layer));
  }
});

test('a distance is measured once', async () => {
  const { drafts } = await openTestDrafts();
  const plain = [rotated('none'), rotated('none'), rotated('none')];
  const distance = drafts.distanceOf(plain);
  expect(drafts.distanceOf([...plain])).toBe(distance);
  const { divergence, rerouted } = await distance;
  expect(divergence).toBeGreaterThan(0);
  expect(joint({ divergence, rerouted })).toBeGreaterThan(divergence * rerouted);
});
