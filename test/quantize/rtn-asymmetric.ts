import { roundHalfToEven } from '../../src/tensor/half.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { type Bits, groupCountOf, requireFinite } from '../../src/quantize/grid.ts';
import type { QuantizedTensor } from '../../src/quantize/quantized-tensor.ts';
import { safeScale } from '../../src/quantize/scale-fit.ts';

/**
 * Round-to-nearest onto the asymmetric grid -2^(bits-1) … 2^(bits-1)-1 that spans the minimum and maximum of each
 * group, zero included. Throws `WEIGHT_NOT_FINITE`.
 */
export function quantizeRtnAsymmetric(
  weight: Matrix,
  { bits, groupSize }: { bits: Bits; groupSize: number },
): QuantizedTensor {
  requireFinite(weight);
  const { rows, cols, data } = weight;
  const groups = groupCountOf(cols, groupSize);
  const [least, most] = [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1];
  const scales = new Float32Array(rows * groups);
  const zeroPoints = new Int8Array(rows * groups);
  const codes = new Int8Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const from = r * cols + g * groupSize;
      const group = data.subarray(from, Math.min(from + groupSize, (r + 1) * cols));
      const [low, high] = [group.reduce(minimum, 0), group.reduce(maximum, 0)];
      const scale = safeScale((high - low) / (most - least));
      const zeroPoint = clamp(least - roundHalfToEven(low / scale), least, most);
      scales[r * groups + g] = scale;
      zeroPoints[r * groups + g] = zeroPoint;
      group.forEach((value, i) => {
        codes[from + i] = clamp(roundHalfToEven(value / scale) + zeroPoint, least, most);
      });
    }
  }
  return { rows, cols, bits, codes, groupSize, scales, zeroPoints, method: 'rtn' };
}

const minimum = (a: number, b: number) => Math.min(a, b);
const maximum = (a: number, b: number) => Math.max(a, b);
const clamp = (value: number, low: number, high: number) => Math.max(low, Math.min(high, value));
