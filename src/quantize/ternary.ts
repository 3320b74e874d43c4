import type { Matrix } from '../tensor/matrix.ts';
import { ternaryGrid } from './grid.ts';
import type { QuantizedTensor } from './quantized-tensor.ts';
import { quantizeRtn } from './rtn.ts';
import { safeScale, type ScaleFit, type WeightGroups } from './scale-fit.ts';

export interface TernaryOptions extends WeightGroups {
  /** Diagonal of XᵀX, [cols]: the error of a column counts as much as its activations are strong. */
  hessianDiagonal?: Float32Array | Float64Array | null;
}

/**
 * Ternary codes {-1, 0, 1} with the scales of least squared error, plain or weighted by the Hessian diagonal. Exact
 * in every group (see {@link ternaryScale}). Throws `WEIGHT_NOT_FINITE`.
 */
export function quantizeTernary(
  weight: Matrix,
  { groupSize, hessianDiagonal = null, inSteps = false }: TernaryOptions,
): QuantizedTensor {
  return quantizeRtn(weight, {
    bits: 2,
    grid: ternaryGrid,
    groupSize,
    fit: ternaryScale,
    importance: hessianDiagonal,
    inSteps,
    method: 'ternary',
  });
}

/**
 * The scale of the ternary optimum. For codes that keep the k largest magnitudes the best scale is Σh|w| / Σh, and it
 * takes J = (Σh|w|)² / Σh off the squared error; so the k with the largest J wins, found in one pass over the
 * magnitudes in falling order. Rounding to nearest with that scale gives its codes. Weights without any importance are
 * fitted as if all mattered alike.
 */
export const ternaryScale: ScaleFit = (weights, importance) => {
  let best = { gain: 0, scale: 0 };
  let [projection, norm] = [0, 0];
  for (const i of byFallingMagnitude(weights)) {
    const share = importance ? importance[i] : 1;
    projection += share * Math.abs(weights[i]);
    norm += share;
    const gain = projection ** 2 / norm;
    if (gain > best.gain) best = { gain, scale: projection / norm };
  }
  if (best.gain === 0 && importance) return ternaryScale(weights, null, ternaryGrid);
  return safeScale(best.scale);
};

/**
 * Indices of the weights. A magnitude becomes a float64 whose low 29 bits, which a float32 does not use, hold the
 * index: such keys sort many times faster than indices with a comparison function.
 */
function byFallingMagnitude(weights: Float32Array): Uint32Array {
  const count = weights.length;
  const keys = new Float64Array(count);
  const words = new Uint32Array(keys.buffer);
  for (let i = 0; i < count; i++) {
    keys[i] = Math.abs(weights[i]);
    words[2 * i] |= i;
  }
  keys.sort();
  const indices = new Uint32Array(count);
  for (let i = 0; i < count; i++) indices[i] = words[2 * (count - 1 - i)] & 0x1fffffff;
  return indices;
}
