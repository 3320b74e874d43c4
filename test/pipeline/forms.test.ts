import { expect, test } from 'vitest';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { readFloats } from '../../src/tensor/view.ts';
import {
  bundledModel,
  bundledRecords,
  calibrationData,
  configFrom,
  dataFree,
  forms,
} from '../helpers/bundled.ts';

/** Bytes of the expert weights in a quantized model, by name; scales stand together for the experts of a layer. */
function expertConstants({ model }: QuantizedModel, part: 'weight' | 'scales'): Map<string, Uint8Array> {
  const constants = [...model.graph.constants].filter(
    ({ name }) => /^moeq\/L\d+(\.E\d+)?\//.test(name) && name.endsWith(`/${part}`),
  );
  return new Map(constants.map(({ name, tensor }) => [name, tensor!.source.read()]));
}

/** 4-bit codes, two to a byte. */
function codesOf(packed: Uint8Array): number[] {
  return [...packed].flatMap((byte) => [byte & 15, byte >> 4]);
}

test('without data every form of a checkpoint gives the same codes and scales, bit for bit', async () => {
  const config = configFrom(...dataFree);
  const [first, ...others] = await Promise.all(
    forms.map((form) => quantizeModel(bundledModel(form), null, config)),
  );
  for (const part of ['weight', 'scales'] as const) {
    const expected = expertConstants(first, part);
    expect(expected.size).toBe(part === 'weight' ? 3 * 16 * 2 : 3 * 2);
    for (const other of others) expect(expertConstants(other, part)).toEqual(expected);
  }
});

test('with calibration the forms agree to float rounding', async () => {
  const data = { records: bundledRecords(calibrationData, 96), pool: [] };
  const config = configFrom(
    'rotation.down=hadamard',
    'calibration.balance.enabled=false',
    'calibration.affinity=false',
    // Not looked at here.
    'router.realign=false',
  );
  const results: QuantizedModel[] = [];
  for (const form of forms) results.push(await quantizeModel(bundledModel(form), data, config));
  const [first, ...others] = results;
  const codes = expertConstants(first, 'weight');
  const scales = [...first.model.graph.constants].filter(({ name }) => name.endsWith('/scales'));
  for (const other of others) {
    let [equal, total] = [0, 0];
    for (const [name, packed] of expertConstants(other, 'weight')) {
      const expected = codesOf(codes.get(name)!);
      equal += codesOf(packed).filter((code, i) => code === expected[i]).length;
      total += expected.length;
    }
    expect(total).toBe(3 * 16 * 3 * 128 * 64);
    expect(equal / total).toBeGreaterThanOrEqual(0.999);
    const byName = new Map([...other.model.graph.constants].map((value) => [value.name, value]));
    let [near, all] = [0, 0];
    for (const { name, tensor } of scales) {
      const actual = readFloats(byName.get(name)!.tensor!.source);
      readFloats(tensor!.source).forEach((scale, i) => {
        // Where the best scale lies between two float16 numbers it may fall to either.
        near += Math.abs(actual[i] / scale - 1) < 2 ** -10 ? 1 : 0;
        all += 1;
      });
    }
    // Of two shares of the largest weight that clip equally well, either may be taken.
    expect(near / all).toBeGreaterThanOrEqual(0.999);
  }
});
