import { describe, expect, test } from 'vitest';
import { outlierScales } from '../../src/quantize/outlier-scales.ts';

const usual = Array.from({ length: 40 }, (_, i) => 1 + i / 40);
const quiet = usual.map(() => -0.1);

describe('outlierScales', () => {
  test('leaves channels without outliers alone', () => {
    expect([...outlierScales({ max: usual, min: quiet })]).toEqual(usual.map(() => 1));
  });

  test('divides an outlier by its ratio to the largest usual channel, to the power of the rate', () => {
    const max = usual.with(3, 40);
    const scales = outlierScales({ max, min: quiet });
    expect(scales[3]).toBeCloseTo((40 / Math.max(...usual)) ** 0.7, 4);
    expect(scales.filter((scale) => scale !== 1)).toHaveLength(1);
    expect(outlierScales({ max, min: quiet }, { rate: 1 })[3]).toBeCloseTo(40 / Math.max(...usual), 4);
  });

  test('splits the candidates where the gap is widest', () => {
    const max = usual.with(3, 40).with(4, 42).with(5, 3).with(6, 3.1);
    const scales = outlierScales({ max, min: quiet });
    expect([...scales.keys()].filter((j) => scales[j] !== 1)).toEqual([3, 4]);
    expect(scales[4]).toBeCloseTo((42 / 3.1) ** 0.7, 4);
  });

  test('sees negative outliers, and takes the stronger side', () => {
    const min = usual
      .map((value) => -value)
      .with(7, -80)
      .with(3, -20);
    const scales = outlierScales({ max: usual.with(7, 5), min }, { rate: 1 });
    expect(scales[7]).toBeCloseTo(80 / 20, 4);
  });

  test('does not depend on the unit of the data', () => {
    const range = { max: usual.with(3, 40).with(4, 42).with(5, 3), min: quiet };
    const rescaled = { max: range.max.map((v) => v * 1e4), min: range.min.map((v) => v * 1e4) };
    outlierScales(rescaled).forEach((scale, j) => expect(scale).toBeCloseTo(outlierScales(range)[j], 4));
  });

  test('a dead input gives ones', () => {
    expect([...outlierScales({ max: [0, 0, 0], min: [0, 0, 0] })]).toEqual([1, 1, 1]);
  });
});
