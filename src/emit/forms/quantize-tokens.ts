import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import { blockSteps, magnitudeFraction, partsOf } from '../../quantize/activation.ts';

/** The grids that rows [n, width] are quantized to; see `quantizeActivations` in the quantize room. */
export interface RowGrids {
  /** [n, blocks]. */
  scales: Value;
  /** What gets code 0, the smallest value of each block, [n, blocks]; null for the symmetric grid of 8 bits. */
  smallest: Value | null;
  /** What the scales are whole multiples of, [n, 1], and how many times, [n, blocks]; null for one grid per row. */
  steps: { size: Value; multiples: Value } | null;
}

/** Dynamic grids of rows [n, width], in the arithmetic of the quantize room. */
export function rowGrids(b: Builder, x: Value, grid: ActivationGrid): RowGrids {
  if (grid.bits === 8) return { scales: symmetricScales(b, x), smallest: null, steps: null };
  const { width, block, bits } = grid;
  const blocks = width / block;
  const parts = blocks === 1 ? x : b.op('Reshape', [x, b.ints([-1, block])], {}, { name: 'blocks' });
  const ofRow = (ends: Value): Value => (blocks === 1 ? ends : b.op('Reshape', [ends, b.ints([-1, blocks])]));
  const zero = scalar(b, 'zero', 0);
  const largest = b.op('Max', [ofRow(reduce(b, 'ReduceMax', parts)), zero], {}, { name: 'largest' });
  const smallest = b.op('Min', [ofRow(reduce(b, 'ReduceMin', parts)), zero], {}, { name: 'smallest' });
  const range = b.op('Sub', [largest, smallest], {}, { name: 'range' });
  const fraction = scalar(b, 'fraction', 1 / partsOf(bits));
  if (blocks === 1) return { scales: positive(b, b.op('Mul', [range, fraction])), smallest, steps: null };
  const ends = b.op('Max', [largest, b.op('Neg', [smallest])]);
  const share = scalar(b, 'step', 1 / blockSteps(bits));
  const size = positive(b, b.op('Mul', [reduce(b, 'ReduceMax', ends), share]));
  const needed = b.op('Ceil', [b.op('Mul', [b.op('Div', [range, size]), fraction])]);
  const multiples = b.op('Max', [needed, scalar(b, 'one', 1)], {}, { name: 'multiples' });
  const scales = b.op('Mul', [multiples, size], {}, { name: 'scales' });
  return { scales, smallest, steps: { size, multiples } };
}

/** The codes of zero, [n, blocks], in float32; null for the symmetric grid, where all codes are signed. */
export function zeroPointsOf(b: Builder, { scales, smallest }: RowGrids): Value | null {
  if (!smallest) return null;
  return b.op('Round', [b.op('Neg', [b.op('Div', [smallest, scales])])], {}, { name: 'zero_codes' });
}

function symmetricScales(b: Builder, x: Value): Value {
  const largest = reduce(b, 'ReduceMax', b.op('Abs', [x]));
  return positive(b, b.op('Mul', [largest, scalar(b, 'fraction', magnitudeFraction(8))]));
}

/** Over the channels. Not axis -1: without rows ONNX Runtime 1.30 then gives [0, channels] instead of [0, 1]. */
function reduce(b: Builder, opType: 'ReduceMax' | 'ReduceMin', x: Value): Value {
  return b.op(opType, [x, b.ints([1])], { keepdims: 1 });
}

/** The smallest normal float32 keeps a token of zeros from dividing by zero. */
function positive(b: Builder, scales: Value): Value {
  return b.op('Max', [scales, scalar(b, 'tiny', 2 ** -126)], {}, { name: 'scales' });
}

function scalar(b: Builder, name: string, value: number): Value {
  return b.constant(name, 'float32', [], [value]);
}
