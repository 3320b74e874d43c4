import type { Matrix } from '../tensor/matrix.ts';
import { gridOf, ternaryGrid } from './grid.ts';
import type { Scheme } from './scheme.ts';
import { geometricMeanOne } from './smooth.ts';

/** The tensor to be smoothed and its one reader. */
export interface Smoothed {
  /** E[x_j²] of each channel, [channels]. */
  energy: Float64Array;
  /** What an error of a weight costs in each channel, [channels]: E[x_j²], or what compensation leaves of it. */
  exposure: Float64Array;
  /** [out, channels] */
  weight: Matrix;
}

/**
 * Smoothing scales s [channels] that leave the least error where x/s and W·diag(s) are both rounded. With steps that
 * follow the energy of their rows, a token's by Σ_j x_j²/s_j² and a row's by Σ_j (s_j w_j)², the errors of Wx add up
 * to a multiple of
 *   (Σ_j g_j / s_j²) · (Σ_j s_j²·‖w_j‖²),   g_j = E[x_j²] / (2^a - 1)² + exposure_j / (2^b - 1)²
 * for activations of a and weights of b bits (2 in place of 2^b - 1 where they are ternary). By Cauchy-Schwarz it is
 * least for s_j⁴ = g_j / ‖w_j‖². SmoothQuant's formula is the same balance between maxima, of which a rotation leaves
 * nothing, and which say little where few values are large. Channels without activations or without weights keep
 * scale 1.
 */
export function leastErrorScales(
  { energy, exposure, weight }: Smoothed,
  { weight: { bits, ternary }, activationBits }: Scheme,
): Float32Array {
  const squares = columnSquares(weight);
  const perEnergy = activationBits === null ? 0 : 1 / (2 ** activationBits - 1) ** 2;
  const { least, most } = ternary ? ternaryGrid : gridOf(bits);
  const perExposure = 1 / (most - least) ** 2;
  const scales = squares.map((square, j) => {
    const cost = energy[j] * perEnergy + exposure[j] * perExposure;
    return energy[j] > 0 && square > 0 ? (cost / square) ** 0.25 : 0;
  });
  return geometricMeanOne(scales);
}

function columnSquares({ rows, cols, data }: Matrix): Float64Array {
  const result = new Float64Array(cols);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) result[c] += data[r * cols + c] ** 2;
  return result;
}
