import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import quantizeTask, { checkTask } from '../../src/jobs/threads/expert-worker.ts';
import { settledBy } from '../../src/pipeline/layer/variant.ts';
import { variantsTried } from '../../src/pipeline/trials/variants-tried.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { configFrom, dataFree } from '../helpers/bundled.ts';
import { smallTextModel } from '../helpers/small-text-model.ts';
import { damaged, writtenModel } from './written-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-worker-'));

test('a check of a written model ends with nothing, or with what is wrong as plain data', async () => {
  const { written, checks } = await writtenModel(smallTextModel(folder).model, plainWorkshop);
  expect(await checkTask({ written, check: checks[1] })).toBeNull();
  expect(await checkTask({ written, check: damaged(checks[1]) })).toMatchObject({
    code: 'PARITY',
    where: 'layer L0, expert L0.E3, down',
  });
});

test('a file that is not there is told, by checks and by rounding', async () => {
  const missing = join(folder, 'none.onnx');
  const config = configFrom('scheme=w4a8', ...dataFree);
  const recipe = {
    config: settledBy(config, variantsTried(config, false)[0]),
    rotation: noRotation,
  };
  const order = { id: 'L0.E0', stats: null, input: { scales: null, shift: null } };
  const check = {
    layer: { id: 'L0', hidden: 1, intermediate: 1 },
    experts: { first: 0, of: 1 },
    exactKernels: false,
    tolerance: 0,
    expected: [],
  } as const;
  const faults = [
    await checkTask({ written: missing, check }),
    await quantizeTask({ model: missing, layer: 'L0', order, recipe }),
  ];
  const fault: unknown = expect.objectContaining({ code: 'FILE_MISSING', where: missing });
  expect(faults).toEqual([fault, fault]);
});
