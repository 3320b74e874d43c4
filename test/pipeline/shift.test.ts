import { Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';
import { runModel } from '../helpers/run-model.ts';

const data = { records: bundledRecords(calibrationData, 32), pool: [] };

function quantized(...settings: string[]): Promise<QuantizedModel> {
  const plain = ['rounding.method=rtn', 'router.realign=false', 'rotation.down=none'];
  return quantizeModel(bundledModel('batched.dyn'), data, configFrom(...plain, ...settings));
}

async function outputOf({ model }: QuantizedModel): Promise<number[]> {
  const ids = BigInt64Array.from(Buffer.from('add:12+34=64\nrev:abc=cba'), BigInt);
  const [output] = Object.values(
    await runModel(model, { input_ids: new Tensor('int64', ids, [1, ids.length]) }),
  );
  return output;
}

test('a shift changes no output beyond rounding, as 8 bits show', async () => {
  const fine = ['scheme=w8a8', 'target=qdq'];
  const plain = await outputOf(await quantized(...fine, 'smoothing.shift=false'));
  const shifted = await quantized(...fine, 'smoothing.shift=true');
  expect(shifted.layers.every(({ smoothing }) => smoothing.shifts.size > 0)).toBe(true);
  const output = await outputOf(shifted);
  const gap = output.map((value, i) => value - plain[i]);
  expect(Math.hypot(...gap) / Math.hypot(...plain)).toBeLessThan(0.01);
  expect(output).not.toEqual(plain);
});

test.each([
  { settings: ['activations.block=token'], expected: true },
  { settings: ['scheme=w4a4'], expected: false },
  { settings: ['scheme=w8a8'], expected: false },
  { settings: ['activations.block=token', 'smoothing.enabled=false'], expected: false },
])('auto with $settings shifts: $expected', async ({ settings, expected }) => {
  const { layers } = await quantized(...settings);
  expect(layers.every(({ smoothing }) => smoothing.shifts.size > 0)).toBe(expected);
});

test('target qmoe refuses a shift that was asked for', async () => {
  await expect(quantized('scheme=w4a16', 'target=qmoe', 'smoothing.shift=true')).rejects.toMatchObject({
    code: 'SCHEME_TARGET',
  });
});
