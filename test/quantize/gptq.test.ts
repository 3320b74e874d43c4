import { describe, expect, test } from 'vitest';
import { quantizeGptq } from '../../src/quantize/gptq.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import type { ScaleFit } from '../../src/quantize/scale-fit.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { gptqReference } from './gptq-reference.ts';
import { correlatedHessian } from './hessian-of.ts';
import { outputError } from './output-error.ts';
import { gaussian } from './random.ts';

describe('quantizeGptq', () => {
  test.each([
    { cols: 48, groupSize: 48, bits: 4, activationOrder: true },
    { cols: 48, groupSize: 48, bits: 2, activationOrder: false },
    { cols: 48, groupSize: 16, bits: 3, activationOrder: true },
    { cols: 100, groupSize: 32, bits: 4, activationOrder: true },
    { cols: 100, groupSize: 32, bits: 4, activationOrder: false },
    { cols: 300, groupSize: 128, bits: 4, activationOrder: true },
    { cols: 7, groupSize: 1, bits: 4, activationOrder: true },
  ] as const)('equals the textbook algorithm ($cols columns, groups of $groupSize)', async (options) => {
    const { cols, bits, groupSize, activationOrder } = options;
    const weight = gaussian(8, cols, 5);
    const hessian = correlatedHessian(cols, 2 * cols, 3);
    const tensor = await quantizeGptq(weight, hessian, options);
    const expected = gptqReference(weight, hessian, { bits, groupSize, damping: 0.01, activationOrder });
    expect(tensor.codes).toEqual(expected.codes);
    tensor.scales.forEach((scale, i) => expect(scale / expected.scales[i]).toBeCloseTo(1, 5));
  });

  test('beats rounding to nearest on the output error, by far where channels are correlated', async () => {
    const weight = gaussian(16, 96, 1);
    const hessian = correlatedHessian(96, 150, 2);
    const options = { bits: 4, groupSize: 32 } as const;
    const gptq = await outputError(weight, await quantizeGptq(weight, hessian, options), hessian);
    expect(gptq).toBeLessThan(0.5 * (await outputError(weight, quantizeRtn(weight, options), hessian)));
  });

  test('is rounding to nearest where channels are independent', async () => {
    const weight = gaussian(4, 40, 3);
    const identity = matrix(40, 40);
    for (let j = 0; j < 40; j++) identity.data[j * 41] = 1 + j;
    const options = { bits: 4, groupSize: 8 } as const;
    const { codes, scales } = await quantizeGptq(weight, identity, options);
    expect({ codes, scales }).toEqual({
      codes: quantizeRtn(weight, options).codes,
      scales: quantizeRtn(weight, options).scales,
    });
  });

  test('a dead channel keeps its own nearest code', async () => {
    const weight = gaussian(6, 32, 4);
    const hessian = correlatedHessian(32, 64, 1);
    for (let j = 0; j < 32; j++) hessian.data[9 * 32 + j] = hessian.data[j * 32 + 9] = 0;
    const { codes } = await quantizeGptq(weight, hessian, { bits: 4, groupSize: 32 });
    const nearest = quantizeRtn(weight, { bits: 4, groupSize: 32 }).codes;
    for (let r = 0; r < 6; r++) expect(codes[r * 32 + 9]).toBe(nearest[r * 32 + 9]);
  });

  test('an expert that saw nothing is rounded to nearest', async () => {
    const weight = gaussian(2, 16, 4);
    const { codes } = await quantizeGptq(weight, matrix(16, 16), { bits: 4, groupSize: 16 });
    expect(codes).toEqual(quantizeRtn(weight, { bits: 4, groupSize: 16 }).codes);
  });

  test('works with fewer tokens than channels, without damping too', async () => {
    const weight = gaussian(4, 64, 4);
    const hessian = correlatedHessian(64, 10, 4);
    for (const damping of [0.01, 0]) {
      const tensor = await quantizeGptq(weight, hessian, { bits: 4, groupSize: 64, damping });
      expect(tensor.scales.every((scale) => scale > 0 && Number.isFinite(scale))).toBe(true);
    }
  });

  test('weighs the fit of a scale by what rounding each column costs', async () => {
    const diagonal = [9, 1, 4, 0];
    const hessian = matrix(4, 4);
    diagonal.forEach((value, j) => (hessian.data[j * 5] = value));
    const seen: number[] = [];
    const fit: ScaleFit = (_weights, importance) => seen.push(...Array.from(importance!));
    await quantizeGptq(matrix(1, 4), hessian, { bits: 4, groupSize: 4, fit, damping: 1 });
    expect(seen).toEqual([0, 1, 4, 9].map((value): number => expect.closeTo(value + 3.5, 5)));
  });

  test('gives all matrix products to the engine it is handed', async () => {
    const weight = gaussian(4, 96, 6);
    const hessian = correlatedHessian(96, 200, 6);
    let products = 0;
    const counting = async (a: typeof weight, b: typeof weight) => {
      products += 1;
      return gemm(a, b);
    };
    const options = { bits: 4, groupSize: 96 } as const;
    const tensor = await quantizeGptq(weight, hessian, { ...options, gemm: counting });
    expect(products).toBe(9);
    expect(tensor).toEqual(await quantizeGptq(weight, hessian, options));
  });

  test('refuses weights and Hessians that are not finite', async () => {
    const bad = matrix(1, 2, Float32Array.of(1, NaN));
    const identity = matrix(2, 2, Float32Array.of(1, 0, 0, 1));
    const options = { bits: 4, groupSize: 2 } as const;
    await expect(quantizeGptq(bad, identity, options)).rejects.toThrow(/WEIGHT_NOT_FINITE/);
    const broken = matrix(2, 2, Float32Array.of(1, NaN, NaN, 1));
    await expect(quantizeGptq(matrix(1, 2), broken, options)).rejects.toThrow(/HESSIAN_NOT_POSITIVE/);
  });
});
