import type { EmittedExpert } from '../emit/expose-experts.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** Error of each expert's output over its tokens; every value is [experts]. */
export interface ExpertErrors {
  /** Squared error and squared reference, summed over tokens and channels. */
  error: Value;
  power: Value;
}

/**
 * Compares the outputs of a layer's experts in the reference with `quantized` [n, hidden], which saw the same
 * tokens. `valid` [T] leaves padding out.
 */
export function expertErrors(
  b: Builder,
  reference: readonly EmittedExpert[],
  quantized: readonly Value[],
  valid: Value | null,
): ExpertErrors {
  const pairs = reference.map(({ rows, output }, i) => {
    const keep = valid && b.op('Gather', [valid, rows]);
    const real = (value: Value): Value => (keep ? b.op('Compress', [value, keep], { axis: 0 }) : value);
    const r = real(output);
    return { error: energy(b, b.op('Sub', [r, real(quantized[i])])), power: energy(b, r) };
  });
  const stack = (name: 'error' | 'power'): Value =>
    b.op(
      'Concat',
      pairs.map((pair) => pair[name]),
      { axis: 0 },
      { name },
    );
  return { error: stack('error'), power: stack('power') };
}

/** Sum of squares, as a vector of one. */
function energy(b: Builder, x: Value): Value {
  return b.op('Reshape', [b.op('ReduceSumSquare', [x], { keepdims: 0 }), b.ints([1])]);
}
