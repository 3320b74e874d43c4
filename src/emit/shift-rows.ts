import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { packCodes } from './forms/pack-codes.ts';
import { scaleConstant } from './forms/scale-constant.ts';

/** The tokens' rows [S, hidden] for each pair, without the shift [1, hidden] in 8 bits of its expert (null: nothing). */
export function shiftRows(
  b: Builder,
  tokens: Value,
  { tokens: pairTokens, experts, inputWeights }: Dispatch,
  shifts: readonly (QuantizedTensor | null)[],
): Value {
  const rows = b.op('Gather', [tokens, pairTokens], {}, { name: 'pair_rows' });
  const weighed = inputWeights ? b.op('Mul', [rows, inputWeights]) : rows;
  const shift = b.op('Gather', [shiftTable(b, shifts), experts], {}, { name: 'pair_shift' });
  return b.op('Sub', [weighed, shift], {}, { name: 'shifted' });
}

/** [experts, hidden] in float32, by nodes that ONNX Runtime folds when it loads the model. */
function shiftTable(b: Builder, shifts: readonly (QuantizedTensor | null)[]): Value {
  const experts = shifts.length;
  const width = shifts.find((shift) => shift !== null)!.cols;
  const codes = new Int8Array(experts * width);
  shifts.forEach((shift, i) => shift && codes.set(shift.codes, i * width));
  const scales = Float32Array.from(shifts, (shift) => shift?.scales[0] ?? 1);
  const stored = b.constant('shift/codes', 'int8', [experts, width], packCodes(codes, 'int8'));
  const steps = b.cast(stored, 'float32', 'shift/steps');
  return b.op('Mul', [steps, scaleConstant(b, 'shift/scales', [experts, 1], scales)], {}, { name: 'shift' });
}
