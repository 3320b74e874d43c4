import { describe, expect, test } from 'vitest';
import { clipScale, fitAt } from '../../src/quantize/clip-scale.ts';
import { quantizeGptq } from '../../src/quantize/gptq.ts';
import { gridOf, ternaryGrid } from '../../src/quantize/grid.ts';
import type { QuantizedTensor } from '../../src/quantize/quantized-tensor.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { refine } from '../../src/quantize/refine.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { absMaxScale } from '../../src/quantize/scale-fit.ts';
import { multiplesOf, nearestMultiple, rowSteps, stepScale } from '../../src/quantize/step-scales.ts';
import { quantizeTernary } from '../../src/quantize/ternary.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { correlatedHessian } from './hessian-of.ts';
import { gaussian } from './random.ts';

/** Groups of very different size. */
const weight = gaussian(6, 96, 2);
weight.data.forEach((value, i) => (weight.data[i] = value * 1.6 ** ((i >> 4) % 6)));
const options = { bits: 4, groupSize: 16 } as const;

function errorOf(tensor: QuantizedTensor, { data }: Matrix = weight): number {
  return dequantize(tensor).data.reduce((sum, value, i) => sum + (value - data[i]) ** 2, 0);
}

function expectSteps({ scales, steps }: QuantizedTensor): void {
  const multiples = multiplesOf(scales, steps!);
  expect(new Set(multiples).size).toBeGreaterThan(3);
  expect(multiples.every((m) => m !== 0 && m >= -8 && m <= 7)).toBe(true);
  scales.forEach((scale, i) => expect(scale).toBe(multiples[i] * steps![Math.floor(i / 6)]));
}

describe('scales in whole multiples of one step per row', () => {
  test('are what rounding, GPTQ, refinement and ternary fits make', async () => {
    const hessian = correlatedHessian(96, 200, 5);
    const compensated = await quantizeGptq(weight, hessian, { ...options, fit: clipScale, inSteps: true });
    expectSteps(compensated);
    expectSteps(await refine(weight, hessian, compensated));
    expectSteps(quantizeRtn(weight, { ...options, inSteps: true }));
    expectSteps(quantizeTernary(weight, { groupSize: 16, inSteps: true }));
    expect(quantizeRtn(weight, options).steps).toBeUndefined();
  });

  test('lose little to scales that are free, and much less than one scale per row', () => {
    const fit = { fit: clipScale, bits: 4 } as const;
    const inSteps = errorOf(quantizeRtn(weight, { ...fit, groupSize: 16, inSteps: true }));
    expect(inSteps).toBeLessThan(errorOf(quantizeRtn(weight, { ...fit, groupSize: 16 })) * 1.35);
    expect(inSteps).toBeLessThan(errorOf(quantizeRtn(weight, { ...fit, groupSize: 96 })) / 2);
  });

  test('the step is a seventh of the largest scale, and never zero', () => {
    const grid = gridOf(4);
    const steps = rowSteps(weight, { groupSize: 16, grid, fit: absMaxScale, importance: null });
    const row = weight.data.subarray(0, 96);
    expect(steps[0]).toBeCloseTo(Math.max(...row.map(Math.abs)) / 49, 3);
    const zeros = quantizeRtn(matrix(2, 32), { ...options, inSteps: true });
    expect([...zeros.steps!].every((step) => step > 0)).toBe(true);
    expect(zeros.codes.every((code) => code === 0)).toBe(true);
    expect(zeros.scales.every((scale) => scale !== 0)).toBe(true);
  });

  test.each([gridOf(4), gridOf(3), ternaryGrid])('the best multiple is found: %o', (grid) => {
    const group = weight.data.subarray(0, 16);
    const best = stepScale(0.1)(group, null, grid);
    for (let multiple = -8; multiple < 8; multiple++) {
      if (multiple === 0) continue;
      const { error } = fitAt(multiple * 0.1, group, null, grid);
      expect(fitAt(best, group, null, grid).error).toBeLessThanOrEqual(error);
    }
  });

  test('what has no importance is fitted all the same', () => {
    const group = weight.data.subarray(0, 16);
    const none = new Float64Array(16);
    expect(stepScale(0.1)(group, none, gridOf(4))).toBe(stepScale(0.1)(group, null, gridOf(4)));
  });

  test('the nearest multiple keeps the sign and stays within four bits', () => {
    const nearest = [0.01, -0.01, 0.74, -0.76, 9, -9].map((scale) => nearestMultiple(scale, 0.5));
    expect(nearest).toEqual([0.5, -0.5, 0.5, -1, 3.5, -4]);
  });
});
