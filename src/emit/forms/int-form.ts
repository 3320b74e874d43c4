import { Fault } from '../../fault.ts';
import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { codeOf } from '../../tensor/dtype.ts';
import type { LinearForm } from '../grouped-ffn.ts';
import type { ActivationClips } from './activation-clips.ts';
import { fewRowsWriter } from './few-rows.ts';
import { packCodes, storageOf } from './pack-codes.ts';
import type { TokenGrid } from './quantize-tokens.ts';
import { perRow, tokenGrid } from './quantize-tokens.ts';
import { unsignedWay } from './saturation.ts';

/**
 * Integer arithmetic: uint8 token codes times INT2, INT4 or INT8 weights in MatMulInteger, summed exactly in int32,
 * then one float32 scale per token and one per output channel. The packed initializer passes nodes to INT8 that ONNX
 * Runtime folds when it loads the model. For few rows the same sums come from packed weights, see `fewRowsWriter`, in
 * linears from `fewRowsFrom` weights on; where the processor cannot sum 8-bit weights, see `unsignedWay`. Codes are
 * unsigned because ONNX Runtime multiplies uint8 by int8 many times faster than int8 by int8.
 *
 * MatMulInteger takes one zero point for all tokens. Grids below 8 bits have one each, so their codes are shifted until
 * zero has the same code everywhere: a token of b bits uses 2^b neighbouring codes around 2^b.
 */
export function intForm(activationBits: number, clips: ActivationClips, fewRowsFrom: number): LinearForm {
  const zeroCode = activationBits === 8 ? 128 : 2 ** activationBits;
  const writeFewRows = fewRowsWriter();
  return {
    integer: true,
    prepare(b, x, part) {
      const grid = tokenGrid(b, x, activationBits, clips[part]);
      const { scales, vector, smallest } = grid;
      const zeroPoint = b.constant('zero_point', 'uint8', [], [zeroCode]);
      const codes =
        smallest && clips[part] < 1
          ? boundedCodes(b, x, { ...grid, smallest }, { bits: activationBits, zeroPoint })
          : codesAround(b, x, vector, zeroPoint);
      return { operand: codes, scales, zeroCode, zeroPoint };
    },
    linear(b, name, weight) {
      requireChannelScales(weight);
      const { rows, cols, codes } = weight;
      const dtype = storageOf(weight);
      const packed = b.constant(`${name}/weight`, dtype, [rows, cols], packCodes(codes, dtype));
      const signed =
        dtype === 'int8' ? packed : b.op('Cast', [packed], { to: codeOf('int8') }, { name: `${name}/int8` });
      const columns = b.op('Transpose', [signed], { perm: [1, 0] }, { name: `${name}/columns` });
      const fewRows = rows * cols >= fewRowsFrom ? writeFewRows(b, name, signed, weight) : null;
      return {
        product: (inner, { operand, zeroPoint }) =>
          inner.op('MatMulInteger', [operand, columns, zeroPoint!], {}, { name }),
        otherWay: dtype === 'int8' ? unsignedWay(name, columns) : fewRows,
      };
    },
  };
}

/** uint8 codes [n, channels], that of zero the same in all tokens. */
function codesAround(b: Builder, x: Value, vector: Value, zeroPoint: Value): Value {
  const zeros = b.op('Expand', [zeroPoint, b.op('Shape', [vector])]);
  return b.op('QuantizeLinear', [x, vector, zeros], { axis: 0 }, { name: 'codes' });
}

function requireChannelScales({ cols, groupSize }: QuantizedTensor): void {
  if (groupSize >= cols) return;
  throw new Fault({
    code: 'GROUP_TARGET',
    what: `integer arithmetic cannot take groups of ${groupSize} weights`,
    why: 'MatMulInteger sums over the whole input before a scale applies',
    remedy: 'use group channel',
  });
}

/**
 * uint8 codes [n, channels] of a grid narrower than its tokens, whose ends take what lies beyond. QuantizeLinear stops at
 * code 0 by itself and Clip at the last one; then the codes of each token are shifted until that of zero is `zeroPoint`.
 * Two passes over bytes: clipping x itself would take two over floats, six times as long.
 */
export function boundedCodes(
  b: Builder,
  x: Value,
  { vector, smallest }: TokenGrid & { smallest: Value },
  { bits, zeroPoint }: { bits: number; zeroPoint: Value },
): Value {
  const zeros = b.op(
    'QuantizeLinear',
    [b.op('Neg', [smallest]), vector],
    { axis: 0 },
    { name: 'zero_codes' },
  );
  const codes = b.op('QuantizeLinear', [x, vector, perRow(b, zeros)], { axis: 0 });
  const last = b.constant('last_code', 'uint8', [], [2 ** bits - 1]);
  const bounded = b.op('Clip', [codes, null, last], {}, { name: 'bounded' });
  return b.op('Add', [bounded, b.op('Sub', [zeroPoint, zeros])], {}, { name: 'codes' });
}
