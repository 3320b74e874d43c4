import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';

export interface QuantizedLinear {
  weight: QuantizedTensor;
  bias: Float32Array | null;
}

/** One expert's weights, ready to be written. */
export interface QuantizedExpert {
  gate: QuantizedLinear | null;
  up: QuantizedLinear;
  down: QuantizedLinear;
}
