import type { ChannelStats, ExpertStats } from '../../calibrate/layer-stats.ts';
import type { Hessian } from '../../quantize/hessian.ts';
import { meanDiagonal } from '../../quantize/hessian.ts';

/** Of the energy of a channel: what sums in float32 over many tokens may be wrong by, with room to spare. */
const sumError = 1e-4;

/**
 * (X − 1·shiftᵀ)ᵀ(X − 1·shiftᵀ) of the input X, its channels divided by their scales: from XᵀX and the mean of X. Where
 * tokens are alike next to nothing is left, and what there is is noise.
 */
export function inputHessian(
  { input, inputMean, mass }: ExpertStats,
  scales: Float32Array | null,
  shift: Float32Array | null,
): Hessian | null {
  const hessian = hessianOf(input, scales);
  if (!hessian || !shift) return hessian;
  const noise = sumError * meanDiagonal(hessian);
  const { rows: size, data } = hessian;
  const mean = inputMean.map((value, j) => value / (scales?.[j] ?? 1));
  for (let r = 0; r < size; r++) {
    for (let c = 0; c < size; c++)
      data[r * size + c] += mass * (shift[r] * shift[c] - mean[r] * shift[c] - shift[r] * mean[c]);
  }
  return { ...hessian, noise };
}

/** XᵀX after every channel of X was divided by its scale. */
export function hessianOf({ gram, absMax }: ChannelStats, scales: Float32Array | null): Hessian | null {
  if (!gram) return null;
  const size = absMax.length;
  const data = Float64Array.from(gram);
  if (scales) {
    for (let r = 0; r < size; r++) for (let c = 0; c < size; c++) data[r * size + c] /= scales[r] * scales[c];
  }
  return { rows: size, cols: size, data };
}
