import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';

export interface QuantizedLinear {
  weight: QuantizedTensor;
  bias: Float32Array | null;
}

/** One expert's weights, ready to be written. */
export interface QuantizedExpert {
  /** Subtracted from what gate and up read, [1, in]; their biases make up for it. Null for nothing. */
  shift: QuantizedTensor | null;
  gate: QuantizedLinear | null;
  up: QuantizedLinear;
  down: QuantizedLinear;
}
