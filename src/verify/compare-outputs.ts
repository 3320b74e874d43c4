import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** Comparison of two outputs [..., classes], one number per position (all leading dimensions, flattened). */
export interface OutputComparison {
  /** Squared error and squared reference, summed over the classes. */
  error: Value;
  power: Value;
  /** Divergence of the softmax, reference to quantized, in nats. */
  kl: Value;
  /** Arg-max, and negative log likelihood of the target, if there are targets. */
  reference: { top: Value; nll: Value | null };
  quantized: { top: Value; nll: Value | null };
}

/** `targets` int64, one class per position. */
export function compareOutputs(
  b: Builder,
  reference: Value,
  quantized: Value,
  targets: Value | null,
): OutputComparison {
  const r = positions(b, reference);
  const q = positions(b, quantized);
  const logR = b.op('LogSoftmax', [r], { axis: -1 });
  const logQ = b.op('LogSoftmax', [q], { axis: -1 });
  return {
    error: sumOfSquares(b, b.op('Sub', [r, q])),
    power: sumOfSquares(b, r),
    kl: sum(b, b.op('Mul', [b.op('Exp', [logR]), b.op('Sub', [logR, logQ])])),
    reference: { top: argMax(b, r), nll: targets && likelihood(b, logR, targets) },
    quantized: { top: argMax(b, q), nll: targets && likelihood(b, logQ, targets) },
  };
}

function positions(b: Builder, output: Value): Value {
  const classes = b.op('Shape', [output], { start: -1 });
  const shape = b.op('Concat', [b.ints([-1]), classes], { axis: 0 });
  return b.op('Reshape', [b.op('Cast', [output], { to: 1 }), shape]);
}

function sumOfSquares(b: Builder, x: Value): Value {
  return sum(b, b.op('Mul', [x, x]));
}

function sum(b: Builder, x: Value): Value {
  return b.op('ReduceSum', [x, b.ints([-1])], { keepdims: 0 });
}

function argMax(b: Builder, x: Value): Value {
  return b.op('ArgMax', [x], { axis: -1, keepdims: 0 });
}

function likelihood(b: Builder, logProbabilities: Value, targets: Value): Value {
  const at = b.op('Unsqueeze', [targets, b.ints([-1])]);
  const picked = b.op('GatherElements', [logProbabilities, at], { axis: -1 });
  return b.op('Neg', [b.op('Squeeze', [picked, b.ints([-1])])]);
}
