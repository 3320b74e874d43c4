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
  expect(shifted.smoothing.every(({ shifts }) => shifts.size > 0)).toBe(true);
  const output = await outputOf(shifted);
  const norm = (values: number[]): number => Math.hypot(...values);
  expect(norm(output.map((value, i) => value - plain[i])) / norm(plain)).toBeLessThan(0.01);
  expect(output).not.toEqual(plain);
});

test('auto shifts what has few bits, and nothing without smoothing', async () => {
  const shiftsOf = async (...settings: string[]): Promise<number[]> =>
    (await quantized(...settings)).smoothing.map(({ shifts }) => Math.min(shifts.size, 1));
  expect(await shiftsOf('scheme=w4a4')).toEqual([1, 1, 1]);
  expect(await shiftsOf('scheme=w8a8')).toEqual([0, 0, 0]);
  expect(await shiftsOf('scheme=w4a4', 'smoothing.enabled=false')).toEqual([0, 0, 0]);
});

test('target qmoe refuses a shift that was asked for', async () => {
  await expect(quantized('scheme=w4a16', 'target=qmoe', 'smoothing.shift=true')).rejects.toMatchObject({
    code: 'SCHEME_TARGET',
  });
});
