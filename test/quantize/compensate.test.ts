import { describe, expect, test } from 'vitest';
import { dequantizeActivations, quantizeActivations } from '../../src/quantize/activation.ts';
import { compensateInput } from '../../src/quantize/compensate.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { matrix, transpose, type Matrix } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

const product = (a: Matrix, b: Matrix) => gemm(transpose(a), b);

function outputDistance(x: Matrix, weight: Matrix, arriving: Matrix, compensated: Matrix): number {
  const [wanted, got] = [gemm(x, transpose(weight)), gemm(arriving, transpose(compensated))];
  return wanted.data.reduce((sum, value, i) => sum + (value - got.data[i]) ** 2, 0);
}

describe('compensateInput', () => {
  const weight = gaussian(5, 16, 1);
  const x = gaussian(400, 16, 2);

  test('leaves the weight alone where the input is exact', async () => {
    const hessian = product(x, x);
    const compensated = await compensateInput(weight, { hessian, cross: hessian });
    weight.data.forEach((value, i) => expect(compensated.data[i]).toBeCloseTo(value, 4));
  });

  test('undoes an input that arrives scaled', async () => {
    const half = { ...x, data: x.data.map((value) => value / 2) };
    const statistics = { hessian: product(half, half), cross: product(half, x) };
    const compensated = await compensateInput(weight, statistics, { damping: 1e-6 });
    weight.data.forEach((value, i) => expect(compensated.data[i]).toBeCloseTo(2 * value, 3));
  });

  test('is the least-squares weight: no small change of it brings the outputs closer', async () => {
    const arriving = dequantizeActivations(quantizeActivations(x, { bits: 3 }));
    const statistics = { hessian: product(arriving, arriving), cross: product(arriving, x) };
    const compensated = await compensateInput(weight, statistics, { damping: 1e-9 });
    const best = outputDistance(x, weight, arriving, compensated);
    expect(best).toBeLessThan(0.98 * outputDistance(x, weight, arriving, weight));
    for (let i = 0; i < 80; i++) {
      for (const step of [-0.05, 0.05]) {
        const other = { ...compensated, data: compensated.data.with(i, compensated.data[i] + step) };
        expect(outputDistance(x, weight, arriving, other)).toBeGreaterThan(best);
      }
    }
  });

  test('keeps the weight of channels and experts that saw nothing', async () => {
    const compensated = await compensateInput(weight, { hessian: matrix(16, 16), cross: matrix(16, 16) });
    expect(compensated).toEqual(weight);
  });
});
