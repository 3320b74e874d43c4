import { expect, test } from 'vitest';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';
import { relativeError } from './relative-error.ts';

test('relativeError is the Frobenius norm of the error over that of the weight', () => {
  const weight = matrix(1, 2, Float32Array.of(3, 4));
  const tensor = {
    ...quantizeRtn(weight, { bits: 4, groupSize: 2 }),
    codes: Int8Array.of(3, 1),
    scales: Float32Array.of(1),
  };
  expect(relativeError(weight, tensor)).toBeCloseTo(0.6, 12);
  const zeros = matrix(1, 2);
  expect(relativeError(zeros, quantizeRtn(zeros, { bits: 4, groupSize: 2 }))).toBe(0);
});

test('4-bit absmax on Gaussian groups of 128 loses 11.7 % (a known figure)', () => {
  const weight = gaussian(400, 128, 7);
  expect(relativeError(weight, quantizeRtn(weight, { bits: 4, groupSize: 128 }))).toBeCloseTo(0.117, 2);
});
