import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { smoothingScales, smoothQuantScales } from '../../src/quantize/smooth.ts';

const expert = (
  activationAbsMax: number[] | null,
  weightAbsMax: number[],
  tokens = 1,
  probability = 0.5,
) => ({
  activationAbsMax,
  weightAbsMax,
  tokens,
  probability,
});

/** Scales are defined up to a common factor: compare them as ratios to the first channel. */
const ratios = (scales: Float32Array) => [...scales].map((scale) => scale / scales[0]);
const near = (values: number[]) => values.map((value): number => expect.closeTo(value, 5));

describe('smoothingScales', () => {
  test('one expert gets the SmoothQuant formula, normalised to geometric mean 1', () => {
    const scales = smoothQuantScales({ activationAbsMax: [16, 1], weightAbsMax: [4, 1] }, 0.75);
    expect([...scales]).toEqual(near([Math.sqrt(8 / Math.SQRT2), 1 / Math.sqrt(8 / Math.SQRT2)]));
  });

  test('max takes the most demanding expert of each channel', () => {
    const experts = [expert([1, 9], [1, 1]), expert([4, 1], [1, 1])];
    expect(ratios(smoothingScales({ experts, alpha: 0.5, aggregate: 'max' }))).toEqual(near([1, 3 / 2]));
  });

  test('frequency and probability weigh the experts by their use', () => {
    const experts = [expert([1, 9], [1, 1], 30, 0.5), expert([4, 1], [1, 1], 10, 0.5)];
    const frequency = smoothingScales({ experts, alpha: 0.5, aggregate: 'frequency' });
    expect(ratios(frequency)).toEqual(near([1, (3 * 0.75 + 1 * 0.25) / (0.75 + 2 * 0.25)]));
    const probability = smoothingScales({ experts, alpha: 0.5, aggregate: 'probability' });
    expect(ratios(probability)).toEqual(near([1, (3 + 1) / (1 + 2)]));
  });

  test('an unseen expert has no vote', () => {
    const seen = expert([1, 9], [1, 1], 5);
    const unseen = expert(null, [1e-3, 7], 0, 0.9);
    for (const aggregate of ['max', 'frequency', 'probability'] as const) {
      const both = smoothingScales({ experts: [seen, unseen], alpha: 0.5, aggregate });
      expect(both).toEqual(smoothingScales({ experts: [seen], alpha: 0.5, aggregate }));
    }
  });

  test('readers of every token join by maximum', () => {
    const router = { activationAbsMax: [25, 1], weightAbsMax: [1, 1] };
    const options = { experts: [expert([1, 9], [1, 1])], alpha: 0.5, aggregate: 'max' } as const;
    expect(ratios(smoothingScales({ ...options, alwaysOn: [router] }))).toEqual(near([1, 3 / 5]));
  });

  test('alpha 0 is no smoothing', () => {
    const experts = [expert([5, 9], [1, 7])];
    expect([...smoothingScales({ experts, alpha: 0, aggregate: 'max' })]).toEqual([1, 1]);
  });

  test('a channel nobody uses keeps scale 1, whatever the others do', () => {
    const experts = [expert([0, 9, 100, 4], [1, 1, 0, 1])];
    const scales = smoothingScales({ experts, alpha: 0.5, aggregate: 'max' });
    expect([scales[0], scales[2]]).toEqual([1, 1]);
    expect(scales[1] / scales[3]).toBeCloseTo(1.5, 5);
  });

  test('scales are finite and positive for any statistics', () => {
    const magnitudes = fc.array(fc.float({ min: 0, noNaN: true, noDefaultInfinity: true }), {
      minLength: 4,
      maxLength: 4,
    });
    const someExpert = fc.record({
      activationAbsMax: fc.option(magnitudes),
      weightAbsMax: magnitudes,
      tokens: fc.nat(),
      probability: fc.float({ min: 0, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(
        fc.array(someExpert, { minLength: 1, maxLength: 3 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.constantFrom('max' as const, 'frequency' as const, 'probability' as const),
        (experts, alpha, aggregate) => {
          for (const scale of smoothingScales({ experts, alpha, aggregate })) {
            expect(Number.isFinite(scale) && scale > 0).toBe(true);
          }
        },
      ),
    );
  });
});
