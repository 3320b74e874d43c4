import { describe, expect, test } from 'vitest';
import type { StatsSource } from '../../src/calibrate/calibrate-by-layer.ts';
import { calibrateByLayer } from '../../src/calibrate/calibrate-by-layer.ts';
import { calibrate } from '../../src/calibrate/calibrate.ts';
import type { LayerStats } from '../../src/calibrate/layer-stats.ts';
import type { Batch } from '../../src/data/batches.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { floatExperts } from '../../src/emit/float-experts.ts';
import type { PreparedModel } from '../../src/moe/prepare-model.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { editConstant } from '../helpers/break-model.ts';
import { bundledModel, bundledRecords, calibrationData, forms } from '../helpers/bundled.ts';

const options = { gram: true, threads: 1 };
const records = bundledRecords(calibrationData, 12);

function modelOf(form: (typeof forms)[number]): {
  open: () => PreparedModel;
  batches: Batch[];
} {
  const open = (): PreparedModel => prepareModel(bundledModel(form));
  return { open, batches: [...makeBatches(records, declaredInputs(open().model), 32)] };
}

async function statsOfAll(source: StatsSource, { model, layers }: PreparedModel): Promise<LayerStats[]> {
  const stats: LayerStats[] = [];
  for (const index of layers.keys()) stats.push(await source.statsOf(index, model));
  source.close();
  return stats;
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

describe.each(forms)('%s', (form) => {
  const { open, batches } = modelOf(form);

  test('has the statistics of a run at once', async () => {
    expect(batches.length).toBeGreaterThan(2);
    const source = calibrateByLayer(open, batches, options);
    const stats = await statsOfAll(source, open());
    expectEqual(await calibrate(open, batches, options), stats);
    expectEqual(await calibrate(open, batches, { ...options, byLayer: true }), stats);
  });
});

describe('one form', () => {
  const { open, batches } = modelOf('loop.dyn');
  /** The model with what `up` makes in its first layer twice as large. */
  const openChanged = (): PreparedModel => {
    const model = openModel(bundledModel('loop.dyn'));
    for (const { up } of open().layers[0].experts)
      editConstant(model, up!.name, (values) => values.forEach((value, i) => (values[i] = 2 * value)));
    return prepareModel(model);
  };

  test('a layer may be asked for without those before it', async () => {
    const source = calibrateByLayer(open, batches, options);
    const last = await source.statsOf(2, open().model);
    source.close();
    expect(last.id).toBe('L2');
    expectEqual((await calibrate(open, batches, options)).slice(2), [last]);
  });

  test('in sequence a layer is fed by the layers before it as they were written', async () => {
    const source = calibrateByLayer(open, batches, { ...options, sequential: true });
    const { model, layers } = openChanged();
    const stats: LayerStats[] = [];
    for (const [index, layer] of layers.entries()) {
      stats.push(await source.statsOf(index, model));
      emitLayer(model, layer, floatExperts(layer));
    }
    source.close();
    const [before, changed] = [
      await calibrate(open, batches, options),
      await calibrate(openChanged, batches, options),
    ];
    expectEqual([before[0], ...changed.slice(1)], stats);
    expect(distance(before[1].inputAbsMax, changed[1].inputAbsMax)).toBeGreaterThan(1e-3);
  });

  test('a layer whose XᵀX is too much for one run is run several times, and XᵀX waits on disk until the next one', async () => {
    const source = calibrateByLayer(open, batches, { ...options, gramBytes: 5 * 4 * (128 ** 2 + 64 ** 2) });
    const { model, layers } = open();
    const atOnce = await calibrate(open, batches, options);
    for (const index of layers.keys()) expectEqual([atOnce[index]], [await source.statsOf(index, model)]);
    const last = await source.statsOf(2, model);
    source.close();
    expect(last.experts.length).toBe(16);
    expect(() => last.experts[0].input.gram).toThrow('ENOENT');
  });

  test('there must be records', () => {
    expect(() => calibrateByLayer(open, [])).toThrow(expect.objectContaining({ code: 'CALIBRATION_EMPTY' }));
  });
});
