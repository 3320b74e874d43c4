import { describe, expect, test } from 'vitest';
import { outlierScales } from '../../src/quantize/outlier-scales.ts';

const usual = Float32Array.from({ length: 40 }, (_, i) => 1 + i / 40);
const largest = Math.max(...usual);

describe('outlierScales', () => {
  test('leaves channels without outliers alone', () => {
    expect(outlierScales(usual)).toEqual(new Float32Array(40).fill(1));
  });

  test('divides an outlier by its ratio to the largest usual channel, to the power of the rate', () => {
    const scales = outlierScales(usual.with(3, 40));
    expect(scales[3]).toBeCloseTo((40 / largest) ** 0.7, 4);
    expect(scales.filter((scale) => scale !== 1)).toHaveLength(1);
  });

  test('splits the candidates where the gap is widest', () => {
    const scales = outlierScales(usual.with(3, 40).with(4, 42).with(5, 3).with(6, 3.1));
    expect([...scales.keys()].filter((j) => scales[j] !== 1)).toEqual([3, 4]);
    expect(scales[4]).toBeCloseTo((42 / 3.1) ** 0.7, 4);
  });

  test('does not depend on the unit of the data', () => {
    const absMax = usual.with(3, 40).with(4, 42).with(5, 3);
    const rescaled = outlierScales(absMax.map((value) => value * 1e4));
    rescaled.forEach((scale, j) => expect(scale).toBeCloseTo(outlierScales(absMax)[j], 4));
  });

  test('a dead input gives ones', () => {
    expect([...outlierScales(new Float32Array(3))]).toEqual([1, 1, 1]);
  });
});
