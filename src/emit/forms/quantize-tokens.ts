import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import { blockSteps, leastMaximum, partsOf } from '../../quantize/activation.ts';

/** The grids that rows [n, width] are quantized to; see `quantizeActivations` in the quantize room. */
export interface RowGrids {
  /** [n, blocks], as are the other two. */
  scales: Value;
  /** What gets code 0, the smallest value of each block; null for the symmetric grid of 8 bits. */
  smallest: Value | null;
  /** What the scales are whole multiples of, [n, 1], and how many times; null for one grid per row. */
  steps: { size: Value; multiples: Value } | null;
}

/** How QuantizeLinear and DequantizeLinear take the scales of blocks. */
export function blockwise({ block }: ActivationGrid): { axis: number; block_size: number } {
  return { axis: 1, block_size: block };
}

/** Dynamic grids of rows [n, width], in the arithmetic of the quantize room. */
export function rowGrids(b: Builder, x: Value, { bits, width, block }: ActivationGrid): RowGrids {
  const least = b.constant('least', 'float32', [], [leastMaximum]);
  if (bits === 8) {
    const magnitude = b.op('Max', [reduce(b, 'ReduceMax', b.op('Abs', [x])), least]);
    return { scales: times(b, magnitude, 1 / 127, 'scales'), smallest: null, steps: null };
  }
  const blocks = width / block;
  // Of two dimensions, in which ONNX Runtime is fastest.
  const parts = blocks === 1 ? x : b.op('Reshape', [x, b.ints([-1, block])], {}, { name: 'parts' });
  const ends = (opType: 'ReduceMax' | 'ReduceMin'): Value => {
    const end = reduce(b, opType, parts);
    return blocks === 1 ? end : b.op('Reshape', [end, b.ints([-1, blocks])]);
  };
  const largest = b.op('Max', [ends('ReduceMax'), least], {}, { name: 'largest' });
  const zero = b.constant('zero', 'float32', [], [0]);
  const smallest = b.op('Min', [ends('ReduceMin'), zero], {}, { name: 'smallest' });
  const range = b.op('Sub', [largest, smallest], {}, { name: 'range' });
  const share = 1 / partsOf(bits);
  if (blocks === 1) return { scales: times(b, range, share, 'scales'), smallest, steps: null };
  const magnitudes = b.op('Max', [largest, b.op('Neg', [smallest])]);
  const size = times(b, reduce(b, 'ReduceMax', magnitudes), 1 / blockSteps(bits), 'step');
  const inSteps = times(b, b.op('Div', [range, size]), share, 'share');
  const one = b.constant('one', 'float32', [], [1]);
  // Beside values beyond 1e12 a block of zeros has none.
  const multiples = b.op('Max', [b.op('Ceil', [inSteps]), one], {}, { name: 'multiples' });
  const scales = b.op('Mul', [multiples, size], {}, { name: 'scales' });
  return { scales, smallest, steps: { size, multiples } };
}

/** The codes of zero, [n, blocks], in float32; null for the symmetric grid, where all codes are signed. */
export function zeroPointsOf(b: Builder, { scales, smallest }: RowGrids): Value | null {
  if (!smallest) return null;
  return b.op('Round', [b.op('Neg', [b.op('Div', [smallest, scales])])], {}, { name: 'zero_codes' });
}

/** Of each row. Not axis -1: without rows ONNX Runtime 1.30 then gives [0, channels] instead of [0, 1]. */
function reduce(b: Builder, opType: 'ReduceMax' | 'ReduceMin', x: Value): Value {
  return b.op(opType, [x, b.ints([1])], { keepdims: 1 });
}

function times(b: Builder, value: Value, factor: number, name: string): Value {
  return b.op('Mul', [value, b.constant('fraction', 'float32', [], [factor])], {}, { name });
}
