import { choleskySolve } from '../tensor/cholesky-solve.ts';
import { gemm as plainGemm, type Gemm } from '../tensor/gemm.ts';
import { matrix, transpose, type Matrix } from '../tensor/matrix.ts';
import { dampingOf, factorHessian, type Hessian } from './hessian.ts';

export interface CompensateOptions {
  /** Pull towards the original weight, as a share of the Hessian's mean diagonal. */
  damping?: number;
  gemm?: Gemm;
}

/**
 * The weight W* [out, in] that makes up best for errors in its own input: it minimizes ‖XWᵀ − X̂W*ᵀ‖² + λ‖W − W*‖²,
 * where X are the float activations of the calibration tokens and X̂ those that will really arrive (quantized, or
 * behind quantized layers). `hessian` is X̂ᵀX̂ and `cross` is X̂ᵀX, both [in, in].
 * What is left to rounding is tr((W* − Ŵ)·X̂ᵀX̂·(W* − Ŵ)ᵀ) plus a constant, so GPTQ continues from W* with `hessian`.
 * Throws `HESSIAN_NOT_POSITIVE`.
 */
export async function compensateInput(
  weight: Matrix,
  { hessian, cross }: { hessian: Hessian; cross: Matrix },
  { damping = 0.01, gemm = plainGemm }: CompensateOptions = {},
): Promise<Matrix> {
  const n = hessian.rows;
  const lambda = dampingOf(hessian, damping);
  const pulled = matrix(n, n, cross.data.slice());
  for (let j = 0; j < n; j++) pulled.data[j * (n + 1)] += lambda;
  const factor = await factorHessian(hessian, { damping, gemm });
  return transpose(await choleskySolve(factor, await gemm(pulled, transpose(weight)), gemm));
}
