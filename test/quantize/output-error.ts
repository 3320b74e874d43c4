import type { Hessian } from '../../src/quantize/hessian.ts';
import type { QuantizedTensor } from '../../src/quantize/quantized-tensor.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { gemm as plainGemm, type Gemm } from '../../src/tensor/gemm.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';

/**
 * tr(ΔHΔᵀ) with Δ = W − Ŵ: the squared error of the layer's output, summed over the calibration tokens behind H. This
 * is what GPTQ keeps small.
 */
export async function outputError(
  weight: Matrix,
  tensor: QuantizedTensor,
  hessian: Hessian,
  gemm: Gemm = plainGemm,
): Promise<number> {
  const restored = dequantize(tensor).data;
  const delta = { ...weight, data: weight.data.map((value, i) => value - restored[i]) };
  const product = await gemm(delta, { ...hessian, data: new Float32Array(hessian.data) });
  return delta.data.reduce((sum, value, i) => sum + value * product.data[i], 0);
}
