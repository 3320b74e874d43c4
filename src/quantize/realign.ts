import { choleskySolve } from '../tensor/cholesky-solve.ts';
import { gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import { transpose, type Matrix } from '../tensor/matrix.ts';
import type { Hessian } from './hessian.ts';
import { factorHessian } from './hessian.ts';

/** Sums over tokens: how a router's logits on changed hidden states X̂ differ from the original ones. */
export interface RouterGap {
  /** X̂ᵀX̂, [hidden, hidden]. */
  gram: Hessian;
  /** X̂ᵀE with E = original - changed logits, [hidden, experts]. */
  cross: Matrix;
  /** Sum of the squares of E. */
  energy: number;
}

/**
 * The change D [experts, hidden] of a router's weight that minimises ‖X̂Dᵀ - E‖² + λ‖D‖²: ridge regression towards the
 * weight as it is, λ being `share` of the mean diagonal of X̂ᵀX̂. Solved as (X̂ᵀX̂ + λI)Dᵀ = X̂ᵀE.
 * Throws `HESSIAN_NOT_POSITIVE`.
 */
export async function realignment({ gram, cross }: RouterGap, share: number, gemm: Gemm = plainGemm): Promise<Matrix> {
  const factor = await factorHessian(gram, { damping: share, gemm });
  return transpose(await choleskySolve(factor, cross, gemm));
}

/** ‖X̂Dᵀ - E‖² of a change D, over the tokens that `gap` was summed over: energy - 2 tr(D·X̂ᵀE) + tr(D·X̂ᵀX̂·Dᵀ). */
export function energyAfter({ rows, cols, data }: Matrix, { gram, cross, energy }: RouterGap): number {
  let sum = energy;
  for (let e = 0; e < rows; e++) {
    const row = data.subarray(e * cols, (e + 1) * cols);
    for (let c = 0; c < cols; c++) {
      let product = -2 * cross.data[c * rows + e];
      for (let j = 0; j < cols; j++) product += gram.data[c * cols + j] * row[j];
      sum += row[c] * product;
    }
  }
  return sum;
}
