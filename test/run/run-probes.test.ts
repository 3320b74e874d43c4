import { describe, expect, test } from 'vitest';
import { countTokens } from '../../src/calibrate/count-tokens.ts';
import type { Batch } from '../../src/data/batches.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { readsOf } from '../../src/onnx/graph.ts';
import { stagesOf } from '../../src/run/stages.ts';
import { bundledModel, bundledRecords, calibrationData, forms } from '../helpers/bundled.ts';

const records = 12;

function batchesFor(path: string): Batch[] {
  const data = bundledRecords(calibrationData, records);
  return [...makeBatches(data, declaredInputs(prepareModel(path).model), 32)];
}

describe.each(forms)('%s run layer by layer', (form) => {
  const path = bundledModel(form);
  const open = (): ReturnType<typeof prepareModel> => prepareModel(path);

  test('counts the same visits', async () => {
    const batches = batchesFor(path);
    const atOnce = await countTokens(open, batches, records);
    expect(atOnce.layers.length).toBe(3);
    expect(await countTokens(open, batches, records, { byLayer: true })).toEqual(atOnce);
  });

  test('has stages that read nothing but what earlier ones made', () => {
    const { model, layers } = open();
    const stages = stagesOf(
      model.graph,
      layers.map(({ boundary }) => [boundary!.output]),
    );
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
