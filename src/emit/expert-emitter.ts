import type { ExplicitRouting } from '../moe/spell-out-routing.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import type { Dispatch } from './dispatch-tokens.ts';

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

/** Writes the experts of one layer in one target form. */
export type ExpertEmitter = PairEmitter | FusedEmitter;

/** From all tokens [T, hidden] to each pair's result [S, hidden], before routing weights on the output. */
export interface PairEmitter {
  kind: 'pairs';
  emit(b: Builder, tokens: Value, dispatch: Dispatch): Value;
}

/** From all tokens [T, hidden] to the weighted sum of their experts [T, hidden], in one operator. */
export interface FusedEmitter {
  kind: 'fused';
  emit(b: Builder, tokens: Value, routing: ExplicitRouting): Value;
}
