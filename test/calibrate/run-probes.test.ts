import { describe, expect, test } from 'vitest';
import { calibrate } from '../../src/calibrate/calibrate.ts';
import { countTokens } from '../../src/calibrate/count-tokens.ts';
import type { LayerStats } from '../../src/calibrate/layer-stats.ts';
import { stagesOf } from '../../src/calibrate/stages.ts';
import type { Batch } from '../../src/data/batches.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/declared-inputs.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { readsOf } from '../../src/onnx/graph.ts';
import { bundledModel, bundledRecords, calibrationData, forms } from '../helpers/bundled.ts';

const records = 12;

function batchesFor(path: string): Batch[] {
  const data = bundledRecords(calibrationData, records);
  return [...makeBatches(data, declaredInputs(prepareModel(path).model), 32)];
}

/** Largest difference relative to the largest number. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [worst, largest] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    worst = Math.max(worst, Math.abs(a[i] - b[i]));
    largest = Math.max(largest, Math.abs(a[i]));
  }
  return worst === 0 ? 0 : worst / largest;
}

function expectEqual(some: readonly LayerStats[], others: readonly LayerStats[]): void {
  expect(others.length).toBe(some.length);
  some.forEach((layer, i) => {
    expect(others[i].tokens).toBe(layer.tokens);
    expect(others[i].experts.map(({ tokens }) => tokens)).toEqual(layer.experts.map(({ tokens }) => tokens));
    expect(distance(layer.probability, others[i].probability)).toBeLessThan(1e-5);
    layer.experts.forEach(({ input, hidden }, e) => {
      expect(distance(input.absMax, others[i].experts[e].input.absMax)).toBeLessThan(1e-5);
      expect(distance(input.gram!, others[i].experts[e].input.gram!)).toBeLessThan(1e-5);
      expect(distance(hidden.gram!, others[i].experts[e].hidden.gram!)).toBeLessThan(1e-5);
    });
  });
}

describe.each(forms)('%s run layer by layer', (form) => {
  const path = bundledModel(form);
  const open = (): ReturnType<typeof prepareModel> => prepareModel(path);

  test('gives the statistics of a run at once', async () => {
    const batches = batchesFor(path);
    expect(batches.length).toBeGreaterThan(2);
    const options = { gram: true, threads: 1 };
    expectEqual(
      await calibrate(open, batches, options),
      await calibrate(open, batches, { ...options, byLayer: true }),
    );
  });

  test('counts the same visits', async () => {
    const batches = batchesFor(path);
    const atOnce = await countTokens(open, batches, records);
    expect(atOnce.layers.length).toBe(3);
    expect(await countTokens(open, batches, records, { byLayer: true })).toEqual(atOnce);
  });

  test('has stages that read nothing but what earlier ones made', () => {
    const { model, layers } = open();
    const stages = stagesOf(model.graph, layers);
    expect(stages[0].inputs).toEqual([]);
    expect(stages.at(-1)!.outputs).toEqual([]);
    stages.forEach(({ inputs }, i) => {
      const made = new Set(stages.slice(0, i).flatMap(({ outputs }) => outputs));
      for (const value of inputs) expect(made).toContain(value);
    });
    const carried = layers.slice(0, -1).map(({ boundary }) => boundary!.output);
    carried.forEach((value, i) => {
      expect(stages[i].outputs).toContain(value);
      expect(model.graph.nodes.some((node) => readsOf(node).includes(value))).toBe(true);
    });
  });
});
