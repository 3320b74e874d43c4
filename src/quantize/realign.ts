import { choleskySolve } from '../tensor/cholesky.ts';
import { gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import { transpose, type Matrix } from '../tensor/matrix.ts';
import type { Hessian } from './hessian.ts';
import { factorHessian } from './hessian.ts';

/** Weighted sums over tokens: how a router's logits on changed hidden states x̂ differ from the original ones. */
export interface RouterGap {
  /** Σ w·x̂·x̂ᵀ, [hidden, hidden]. */
  gram: Hessian;
  /** Σ w·x̂·eᵀ with e = original - changed logits, [hidden, experts]. */
  cross: Matrix;
}

/**
 * The change D [experts, hidden] of a router's weight that minimises Σ w·‖D·x̂ - e‖² + λ‖D‖²: ridge regression towards
 * the weight as it is, λ being `share` of the mean diagonal of G = Σ w·x̂·x̂ᵀ. Solved as (G + λI)Dᵀ = Σ w·x̂·eᵀ.
 * Throws `HESSIAN_NOT_POSITIVE`.
 */
export async function realignment(
  { gram, cross }: RouterGap,
  share: number,
  gemm: Gemm = plainGemm,
): Promise<Matrix> {
  const { factor } = await factorHessian(gram, { damping: share, gemm });
  return transpose(await choleskySolve(factor, cross, gemm));
}
