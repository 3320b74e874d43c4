import { describe, expect, test } from 'vitest';
import type { ExpertStats } from '../../src/calibrate/layer-stats.ts';
import { hessianOf, inputHessian } from '../../src/pipeline/layer/expert-hessians.ts';
import { clipScale } from '../../src/quantize/clip-scale.ts';
import { quantizeGptq } from '../../src/quantize/gptq.ts';
import { refine } from '../../src/quantize/refine.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { type Matrix, transpose } from '../../src/tensor/matrix.ts';
import { outputError } from '../quantize/output-error.ts';
import { gaussian } from '../quantize/random.ts';

/** What calibration adds up for an expert whose tokens are the rows of x. */
function statsOf(x: Matrix): ExpertStats {
  const sums = new Float64Array(x.cols);
  x.data.forEach((value, i) => (sums[i % x.cols] += value));
  const inputMean = new Float32Array(sums.map((sum) => sum / x.rows));
  const input = { absMax: new Float32Array(x.cols), gram: gemm(transpose(x), x).data };
  return { id: 'L0.E0', tokens: x.rows, mass: x.rows, inputMean, input, hidden: input };
}

/** (X - shift)ᵀ(X - shift), every channel divided by its scale first. */
function expected(x: Matrix, scales: Float32Array, shift: Float32Array): Float32Array {
  const data = x.data.map((value, i) => value / scales[i % x.cols] - shift[i % x.cols]);
  return gemm(transpose({ ...x, data }), { ...x, data }).data;
}

describe('inputHessian', () => {
  test('is XᵀX of what is quantized: divided by the scales, less the shift', () => {
    const x = gaussian(50, 6, 1);
    x.data.forEach((_, i) => (x.data[i] += i % 6));
    const scales = Float32Array.of(1, 2, 0.5, 4, 1, 3);
    const shift = Float32Array.of(0, 0.5, 4, 1, 4, 2);
    const { data } = inputHessian(statsOf(x), scales, shift)!;
    expected(x, scales, shift).forEach((value, i) => expect(data[i]).toBeCloseTo(value, 3));
  });

  test('without a shift, or without XᵀX, there is nothing to take away', () => {
    const stats = statsOf(gaussian(50, 6, 1));
    expect(inputHessian(stats, null, null)).toEqual(hessianOf(stats.input, null));
    const unknown = { ...stats, input: { ...stats.input, gram: null } };
    expect(inputHessian(unknown, null, new Float32Array(6))).toBeNull();
  });

  test.each([1, 64, 2000])('of %i equal tokens leaves the weights as rounding alone would', async (count) => {
    const weight = gaussian(16, 128, 2);
    const token = gaussian(1, 128, 3).data;
    const x = {
      rows: count,
      cols: 128,
      data: Float32Array.from({ length: count * 128 }, (_, i) => token[i % 128]),
    };
    const stats = statsOf(x);
    const hessian = inputHessian(stats, null, stats.inputMean)!;
    const options = { bits: 4, groupSize: 128, fit: clipScale } as const;
    const codes = await refine(weight, hessian, await quantizeGptq(weight, hessian, options), {
      refitScales: false,
    });
    const identity = {
      rows: 128,
      cols: 128,
      data: new Float32Array(128 * 128).map((_, i) => (i % 129 === 0 ? 1 : 0)),
    };
    const rounded = await outputError(weight, quantizeRtn(weight, options), identity);
    expect(await outputError(weight, codes, identity)).toBeLessThan(1.1 * rounded);
  });
});
