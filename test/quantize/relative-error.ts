import type { QuantizedTensor } from '../../src/quantize/quantized-tensor.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';

/** ‖W − Ŵ‖ / ‖W‖ in the Frobenius norm; 0 for a weight of zeros that stayed zero. */
export function relativeError(weight: Matrix, tensor: QuantizedTensor): number {
  const restored = dequantize(tensor).data;
  let error = 0;
  let norm = 0;
  weight.data.forEach((value, i) => {
    error += (value - restored[i]) ** 2;
    norm += value ** 2;
  });
  return error === 0 ? 0 : Math.sqrt(error / norm);
}
