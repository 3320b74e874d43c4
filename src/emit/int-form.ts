import { Fault } from '../fault.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { LinearForm, Part } from './grouped-ffn.ts';
import { packCodes, storageOf } from './pack-codes.ts';
import { perRow, tokenGrid } from './quantize-tokens.ts';

/**
 * Integer arithmetic: uint8 token codes times INT2, INT4 or INT8 weights in MatMulInteger, summed exactly in int32,
 * then one float32 scale per token and one per output channel. The packed initializer passes a Cast to INT8 that
 * ONNX Runtime folds when it loads the model. Codes are unsigned because ONNX Runtime multiplies uint8 by int8 many
 * times faster than int8 by int8.
 *
 * MatMulInteger takes one zero point for all tokens, and grids below 8 bits have one each. There the codes of a token
 * are followed by a few copies of its zero point, and the weights by rows that sum to minus each column's sum: the product
 * then subtracts zero point · column sum, exactly.
 */
export function intForm(activationBits: number): LinearForm {
  if (activationBits === 8) return symmetricForm();
  // Copies of the zero point that the columns need; all weights of a part are written before its inputs.
  const copies: Record<Part, number> = { input: 1, hidden: 1 };
  return {
    integer: true,
    prepare(b, x, part) {
      const { scales, zeroPoints } = tokenGrid(b, x, activationBits);
      const zeros = b.op('Cast', [zeroPoints!], { to: codeOf('uint8') }, { name: 'zero_points' });
      const inputs = [x, perRow(b, scales), perRow(b, zeros)];
      const codes = b.op('QuantizeLinear', inputs, { axis: 0 }, { name: 'codes' });
      const repeated = Array.from({ length: copies[part] }, () => zeros);
      return {
        operand: b.op('Concat', [codes, ...repeated], { axis: 1 }, { name: 'codes_and_zeros' }),
        scales,
      };
    },
    linear(b, name, weight) {
      const part = name === 'down' ? 'hidden' : 'input';
      const codes = weightCodes(b, name, weight);
      const sums = columnSums(weight);
      const largest = sums.reduce((most, sum) => Math.max(most, Math.abs(sum)), 0);
      copies[part] = Math.max(copies[part], Math.ceil(largest / 127));
      return ({ operand }) => {
        const rows = copies[part];
        const correction = b.constant(`${name}/correction`, 'int8', [rows, weight.rows], spread(sums, rows));
        const whole = b.op('Concat', [codes, correction], { axis: 0 }, { name: `${name}/codes` });
        return b.op('MatMulInteger', [operand, whole], {}, { name });
      };
    },
  };
}

function symmetricForm(): LinearForm {
  return {
    integer: true,
    prepare(b, x) {
      const { scales } = tokenGrid(b, x, 8);
      const vector = perRow(b, scales);
      const zero = b.constant('zero_point', 'uint8', [], [128]);
      const zeros = b.op('Expand', [zero, b.op('Shape', [vector])]);
      const codes = b.op('QuantizeLinear', [x, vector, zeros], { axis: 0 }, { name: 'codes' });
      return { operand: codes, scales, zeroPoint: zero };
    },
    linear(b, name, weight) {
      const codes = weightCodes(b, name, weight);
      return ({ operand, zeroPoint }) => b.op('MatMulInteger', [operand, codes, zeroPoint!], {}, { name });
    },
  };
}

/** Sum of the codes that make each output channel, [out]. */
function columnSums({ rows, cols, codes }: QuantizedTensor): Int32Array {
  return Int32Array.from({ length: rows }, (_, r) =>
    codes.subarray(r * cols, (r + 1) * cols).reduce((sum, code) => sum + code, 0),
  );
}

/** Rows [rows, out] of int8 that sum to minus `sums`. */
function spread(sums: Int32Array, rows: number): Int8Array {
  const result = new Int8Array(rows * sums.length);
  sums.forEach((sum, c) => {
    let rest = -sum;
    for (let r = 0; r < rows; r++) {
      const share = Math.max(-127, Math.min(127, rest));
      result[r * sums.length + c] = share;
      rest -= share;
    }
  });
  return result;
}

/** Codes as an int8 value [in, out], the layout MatMulInteger wants on its right. */
function weightCodes(b: Builder, name: string, weight: QuantizedTensor): Value {
  requireChannelScales(weight);
  const { rows, cols, codes } = weight;
  const transposed = new Int8Array(codes.length);
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < cols; c++) transposed[c * rows + r] = codes[r * cols + c];
  const dtype = storageOf(weight);
  const packed = b.constant(`${name}/weight`, dtype, [cols, rows], packCodes(transposed, dtype));
  return dtype === 'int8' ? packed : b.op('Cast', [packed], { to: codeOf('int8') }, { name: `${name}/int8` });
}

function requireChannelScales({ cols, groupSize, zeroPoints }: QuantizedTensor): void {
  if (groupSize >= cols && !zeroPoints) return;
  throw new Fault({
    code: 'GROUP_TARGET',
    what: `integer arithmetic cannot take ${zeroPoints ? 'zero points' : `groups of ${groupSize} weights`}`,
    why: 'MatMulInteger sums over the whole input before a scale applies',
    remedy: 'use group channel and a symmetric grid',
  });
}
