import type { EmittedPairs } from '../emit/emit-layer.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** Error of experts' outputs, by pair of a token and an expert; every value is [S]. */
export interface ExpertErrors {
  /** Row number of the token, and position of the expert among those that are written, in int32. */
  tokens: Value;
  experts: Value;
  /** Squared error and squared reference, summed over channels. */
  error: Value;
  power: Value;
}

/** Compares what the experts of the reference make of their pairs with `quantized` [S, hidden], of the same pairs. */
export function expertErrors(
  b: Builder,
  { dispatch, results }: EmittedPairs,
  quantized: Value,
): ExpertErrors {
  return {
    tokens: b.cast(dispatch.tokens, 'int32'),
    experts: b.cast(dispatch.experts, 'int32'),
    error: energy(b, b.op('Sub', [results, quantized])),
    power: energy(b, results),
  };
}

/** The sum of squares of each row. */
function energy(b: Builder, x: Value): Value {
  return b.op('ReduceSumSquare', [x, b.ints([1])], { keepdims: 0 });
}
