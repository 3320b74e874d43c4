import { gemm } from '../../src/tensor/gemm.ts';
import { type Matrix, transpose } from '../../src/tensor/matrix.ts';
import { gaussian } from './random.ts';

/** XᵀX of correlated tokens with one outlier channel, [channels, channels]. */
export function correlatedHessian(channels: number, tokens: number, seed: number): Matrix {
  const mix = gaussian(channels, channels, seed);
  for (let i = 0; i < channels; i++) mix.data[i * channels + i] += Math.sqrt(channels);
  const x = gemm(gaussian(tokens, channels, seed + 1), mix);
  for (let t = 0; t < tokens; t++) x.data[t * channels + (seed % channels)] *= 12;
  return gemm(transpose(x), x);
}
