import { describe, expect, test } from 'vitest';
import { clipScale } from '../../src/quantize/clip-scale.ts';
import { quantizeGptq } from '../../src/quantize/gptq.ts';
import { ternaryGrid } from '../../src/quantize/grid.ts';
import { refine } from '../../src/quantize/refine.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { quantizeTernary, ternaryScale } from '../../src/quantize/ternary.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { correlatedHessian } from './hessian-of.ts';
import { outputError } from './output-error.ts';
import { gaussian } from './random.ts';

describe('refine', () => {
  test.each([
    { bits: 4, groupSize: 80, fit: clipScale },
    { bits: 4, groupSize: 32, fit: clipScale },
    { bits: 2, groupSize: 32, fit: ternaryScale },
  ] as const)('every sweep lowers the output error ($bits bits, groups of $groupSize)', async (options) => {
    const weight = gaussian(12, 80, 1);
    const hessian = correlatedHessian(80, 200, 2);
    const start = await quantizeGptq(weight, hessian, options);
    const losses = [await outputError(weight, start, hessian)];
    for (const sweeps of [1, 2, 8]) {
      const refined = await refine(weight, hessian, start, { sweeps, damping: 0 });
      losses.push(await outputError(weight, refined, hessian));
    }
    expect(losses[1]).toBeLessThan(0.97 * losses[0]);
    expect(losses[2]).toBeLessThanOrEqual(losses[1]);
    expect(losses[3]).toBeLessThanOrEqual(losses[2]);
  });

  test('ends where no single code and no scale can be improved', async () => {
    const weight = gaussian(3, 20, 4);
    const hessian = correlatedHessian(20, 60, 5);
    const start = quantizeRtn(weight, { bits: 3, groupSize: 10, fit: clipScale });
    expect(start.scales.some((scale) => scale < 0)).toBe(true);
    const end = await refine(weight, hessian, start, { sweeps: 100, damping: 0 });
    const least = (await outputError(weight, end, hessian)) * (1 - 1e-4);
    for (let i = 0; i < end.codes.length; i++) {
      for (const step of [-1, 1]) {
        const code = end.codes[i] + step;
        if (code < -4 || code > 3) continue;
        const other = { ...end, codes: end.codes.with(i, code) };
        expect(await outputError(weight, other, hessian)).toBeGreaterThan(least);
      }
    }
    for (let i = 0; i < end.scales.length; i++) {
      for (const factor of [0.99, 1.01]) {
        const other = { ...end, scales: end.scales.with(i, end.scales[i] * factor) };
        expect(await outputError(weight, other, hessian)).toBeGreaterThan(least);
      }
    }
  });

  test('lets no error grow where only more damping makes the Hessian positive', async () => {
    const weight = gaussian(6, 40, 7);
    // Next to nothing but noise, as a shift leaves it of tokens that are alike.
    const noise = gaussian(40, 40, 8);
    const hessian = matrix(40, 40);
    hessian.data.forEach((_, i) => {
      const [r, c] = [Math.floor(i / 40), i % 40];
      hessian.data[i] = (r === c ? 1 : 0) + (noise.data[r * 40 + c] + noise.data[c * 40 + r]) / 5;
    });
    const start = await quantizeGptq(weight, hessian, { bits: 4, groupSize: 40, fit: clipScale });
    const refined = await refine(weight, hessian, start, { refitScales: false });
    const identity = matrix(40, 40);
    for (let j = 0; j < 40; j++) identity.data[j * 41] = 1;
    const before = await outputError(weight, start, identity);
    expect(await outputError(weight, refined, identity)).toBeLessThan(1.2 * before);
  });

  test('does not touch its input, and keeps form and method', async () => {
    const weight = gaussian(4, 40, 6);
    const start = quantizeTernary(weight, { groupSize: 16 });
    const copy = structuredClone(start);
    const refined = await refine(weight, correlatedHessian(40, 90, 6), start, { grid: ternaryGrid });
    expect(start).toEqual(copy);
    expect(refined).toMatchObject({ rows: 4, cols: 40, bits: 2, groupSize: 16, method: 'ternary' });
    expect(refined.codes.every((code) => Math.abs(code) <= 1)).toBe(true);
    expect(refined.codes).not.toEqual(start.codes);
  });

  test('leaves a group of zeros alone', async () => {
    const weight = matrix(2, 8);
    const start = quantizeTernary(weight, { groupSize: 8 });
    expect(await refine(weight, correlatedHessian(8, 20, 1), start)).toEqual(start);
  });
});
