import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { multiplesOf } from '../../quantize/step-scales.ts';
import type { LinearForm } from '../linear-form.ts';
import { fewRowsWriter } from './few-rows.ts';
import type { CodeType } from './pack-codes.ts';
import { packCodes, storageOf } from './pack-codes.ts';
import { blockwise, rowGrids } from './quantize-tokens.ts';
import { unsignedWay } from './saturation.ts';

/**
 * Integer arithmetic: uint8 token codes times INT2, INT4 or INT8 weights in MatMulInteger, summed exactly in int32,
 * then one float32 scale per token and one per output channel. The packed initializer passes nodes to INT8 that ONNX
 * Runtime folds when it loads the model. For few rows the same sums come from packed weights, see `fewRowsWriter`, in
 * linears of more than `fewRowsAbove` weights whose rows have one scale; where the processor cannot sum 8-bit weights, see
 * `unsignedWay`. Codes are unsigned because ONNX Runtime multiplies uint8 by int8 many times faster than int8 by int8.
 *
 * MatMulInteger takes one zero point for all tokens. Grids below 8 bits have one each, so their codes are shifted until
 * zero has the same code everywhere: a token of b bits uses 2^b neighbouring codes around 2^b. Where a token has several
 * grids, codes are whole multiples of its step, see `stepCodes`.
 */
export function intForm(gridOf: (width: number) => ActivationGrid, fewRowsAbove: number): LinearForm {
  const writeFewRows = fewRowsWriter();
  return {
    integer: true,
    prepare(b, x, { width }) {
      const grid = gridOf(width);
      const { scales, steps } = rowGrids(b, x, grid);
      const zeroCode = steps || grid.bits === 8 ? 128 : 2 ** grid.bits;
      const zeroPoint = b.constant('zero_point', 'uint8', [], [zeroCode]);
      const operand = steps
        ? stepCodes(b, x, { scales, multiples: steps.multiples }, grid)
        : codesAround(b, x, { scales, zeroPoint }, grid);
      return { operand, scales: steps?.size ?? scales, zeroCode, zeroPoint };
    },
    linear(b, name, weight) {
      const { rows, cols } = weight;
      const dtype = storageOf(weight);
      const signed = signedCodes(b, name, weight);
      const columns = b.op('Transpose', [signed], { perm: [1, 0] }, { name: `${name}/columns` });
      const isPacked = rows * cols > fewRowsAbove && !weight.steps;
      const fewRows = isPacked ? writeFewRows(b, name, signed, weight) : null;
      return {
        product: (inner, { operand, zeroPoint }) =>
          inner.op('MatMulInteger', [operand, columns, zeroPoint!], {}, { name }),
        otherWay: dtype === 'int8' ? unsignedWay(name, columns) : fewRows,
      };
    },
  };
}

/** uint8 codes [n, width], that of zero the same in all rows. */
function codesAround(
  b: Builder,
  x: Value,
  { scales, zeroPoint }: { scales: Value; zeroPoint: Value },
  grid: ActivationGrid,
): Value {
  const zeros = b.op('Expand', [zeroPoint, b.op('Shape', [scales])]);
  return b.op('QuantizeLinear', [x, scales, zeros], blockwise(grid), { name: 'codes' });
}

/**
 * uint8 codes [n, width] in steps of each row, around 128: of a block with scale m steps, m times the code. One pass makes the
 * codes, and one more multiplies them in 8 bits, modulo 256: in the first, zero gets a code of which m times is 128.
 */
function stepCodes(
  b: Builder,
  x: Value,
  { scales, multiples }: { scales: Value; multiples: Value },
  grid: ActivationGrid,
): Value {
  const times = b.cast(multiples, 'uint8', 'times');
  const zeroOf = b.constant('zero_of_multiple', 'uint8', [256], zeroCodes(grid.bits));
  const zeros = b.op('Gather', [zeroOf, b.cast(times, 'int32')]);
  const codes = b.op('QuantizeLinear', [x, scales, zeros], blockwise(grid), { name: 'codes' });
  const parts = b.op('Reshape', [codes, b.ints([-1, grid.block])]);
  const steps = b.op('Mul', [parts, b.op('Reshape', [times, b.ints([-1, 1])])], {}, { name: 'steps' });
  return b.op('Reshape', [steps, b.ints([-1, grid.width])], {}, { name: 'step_codes' });
}

/**
 * For each m a code z of zero with m · z = 128 modulo 256, from which all codes of `bits` bits fit in uint8. Also for bytes
 * that are no multiple, which is what rows of NaN have.
 */
function zeroCodes(bits: number): number[] {
  const last = 2 ** bits - 1;
  const candidates = Array.from({ length: 256 - 2 * last }, (_, i) => last + i);
  return Array.from({ length: 256 }, (_, m) => candidates.find((z) => (m * z) % 256 === 128) ?? 0);
}

/**
 * The weight [out, in] in steps of its rows, as int8: its codes, or those of each group times its multiple. ONNX Runtime
 * folds the nodes when it loads the model.
 */
function signedCodes(b: Builder, name: string, weight: QuantizedTensor): Value {
  const { rows, cols, codes, groupSize, scales, steps } = weight;
  const stored = (part: string, dtype: CodeType, shape: number[], values: Int8Array): Value => {
    const packed = b.constant(`${name}/${part}`, dtype, shape, packCodes(values, dtype));
    if (dtype === 'int8') return packed;
    return b.cast(packed, 'int8', `${name}/${part}_int8`);
  };
  const whole = stored('weight', storageOf(weight), [rows, cols], codes);
  if (!steps) return whole;
  const groups = cols / groupSize;
  const multiples = stored('multiples', 'int4', [rows, groups, 1], multiplesOf(scales, steps));
  const grouped = b.op('Reshape', [whole, b.ints([rows, groups, groupSize])]);
  const inSteps = b.op('Mul', [grouped, multiples], {}, { name: `${name}/grouped` });
  return b.op('Reshape', [inSteps, b.ints([rows, cols])], {}, { name: `${name}/steps` });
}
