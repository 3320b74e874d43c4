import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';

/** How an output compares with the reference's: one number per position (all leading dimensions, flattened). */
export interface OutputDistance {
  /** Squared error, summed over the classes. */
  error: Value;
  /** Divergence of the softmax, reference to this one, in nats. */
  kl: Value;
  /** Negative log likelihood of the target, if there are targets. */
  nll: Value | null;
  /** Arg-max; -1 where values are not finite. */
  top: Value;
}

/** The reference's own output, one number per position. */
export interface ReferenceOutput {
  /** Squares, summed over the classes. */
  power: Value;
  nll: Value | null;
  top: Value;
}

/** Compares outputs [..., classes] with `reference`; `targets` int64 names the right class of each position. */
export function compareOutputs<Run extends string>(
  b: Builder,
  reference: Value,
  others: Record<Run, Value>,
  targets: Value | null,
): { reference: ReferenceOutput } & Record<Run, OutputDistance> {
  const rows = positions(b, reference);
  const log = b.op('LogSoftmax', [rows], { axis: -1 });
  const read = (output: Value): OutputDistance => {
    const otherRows = positions(b, output);
    const otherLog = b.op('LogSoftmax', [otherRows], { axis: -1 });
    return {
      error: sumOfSquares(b, b.op('Sub', [rows, otherRows])),
      kl: sum(b, b.op('Mul', [b.op('Exp', [log]), b.op('Sub', [log, otherLog])])),
      nll: targets && likelihood(b, otherLog, targets),
      top: topClass(b, otherRows, otherLog),
    };
  };
  const distances = Object.entries<Value>(others).map(([name, output]) => [name, read(output)]);
  return {
    reference: {
      power: sumOfSquares(b, rows),
      nll: targets && likelihood(b, log, targets),
      top: topClass(b, rows, log),
    },
    ...(Object.fromEntries(distances) as Record<Run, OutputDistance>),
  };
}

function positions(b: Builder, output: Value): Value {
  const classes = b.op('Shape', [output], { start: -1 });
  const shape = b.op('Concat', [b.ints([-1]), classes], { axis: 0 });
  return b.op('Reshape', [b.cast(output, 'float32'), shape]);
}

function sumOfSquares(b: Builder, x: Value): Value {
  return b.op('ReduceSumSquare', [x, b.ints([-1])], { keepdims: 0 });
}

function sum(b: Builder, x: Value): Value {
  return b.op('ReduceSum', [x, b.ints([-1])], { keepdims: 0 });
}

/** A NaN or an infinity shows in every log probability of its row; classes may be masked by minus infinity. */
function topClass(b: Builder, rows: Value, log: Value): Value {
  const top = b.op('ArgMax', [rows], { axis: -1, keepdims: 0 });
  return b.op('Where', [b.op('IsNaN', [sum(b, log)]), b.ints(-1), top]);
}

function likelihood(b: Builder, logProbabilities: Value, targets: Value): Value {
  const at = b.op('Unsqueeze', [targets, b.ints([-1])]);
  const picked = b.op('GatherElements', [logProbabilities, at], { axis: -1 });
  return b.op('Neg', [b.op('Squeeze', [picked, b.ints([-1])])]);
}
