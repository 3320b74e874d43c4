import { describe, expect, test } from 'vitest';
import { dequantize } from '../../src/quantize/dequantize.ts';
import { relativeError } from '../../src/quantize/relative-error.ts';
import { quantizeRtnAsymmetric } from '../../src/quantize/rtn-asymmetric.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

describe('quantizeRtnAsymmetric', () => {
  test('spans minimum to maximum with an exact zero', () => {
    const tensor = quantizeRtnAsymmetric(matrix(1, 4, Float32Array.of(-1, 0, 5, 14)), {
      bits: 4,
      groupSize: 4,
    });
    expect([...tensor.scales]).toEqual([1]);
    expect([...tensor.zeroPoints!]).toEqual([-7]);
    expect([...dequantize(tensor).data]).toEqual([-1, 0, 5, 14]);
  });

  test('halves the step of weights of one sign', () => {
    const positive = matrix(2, 32, gaussian(2, 32, 5).data.map(Math.abs));
    const options = { bits: 4, groupSize: 32 } as const;
    const ratio =
      relativeError(positive, quantizeRtnAsymmetric(positive, options)) /
      relativeError(positive, quantizeRtn(positive, options));
    expect(ratio).toBeLessThan(0.6);
  });

  test('every weight stays within half a step, and a group of zeros stays zero', () => {
    const weight = gaussian(3, 24, 6);
    weight.data.fill(0, 0, 8);
    const tensor = quantizeRtnAsymmetric(weight, { bits: 3, groupSize: 8 });
    dequantize(tensor).data.forEach((value, i) => {
      const scale = tensor.scales[Math.floor(i / 8)];
      expect(Math.abs(value - weight.data[i])).toBeLessThanOrEqual(i < 8 ? 0 : scale);
    });
  });

  test('refuses a weight that is not finite', () => {
    const weight = matrix(1, 2, Float32Array.of(1, NaN));
    expect(() => quantizeRtnAsymmetric(weight, { bits: 4, groupSize: 2 })).toThrow(/WEIGHT_NOT_FINITE/);
  });
});
