import { Fault } from '../fault.ts';
import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import type { LinearForm } from './grouped-ffn.ts';
import { packCodes, storageOf } from './pack-codes.ts';
import { quantizeTokens, zeroPointOf } from './quantize-tokens.ts';

/**
 * Integer arithmetic: uint8 token codes times INT2, INT4 or INT8 weights in MatMulInteger, summed exactly in int32,
 * then one float32 scale per token and one per output channel. The packed initializer passes a Cast to INT8 that
 * ONNX Runtime folds when it loads the model.
 */
export function intForm(activationBits: number): LinearForm {
  return {
    prepare(b, x) {
      const { codes, scales } = quantizeTokens(b, x, activationBits);
      const zeroPoint = b.constant('zero_point', 'uint8', [], [zeroPointOf(activationBits)]);
      return { operand: codes, scales, zeroPoint };
    },
    linear(b, name, weight) {
      const codes = weightCodes(b, name, weight);
      return ({ operand, zeroPoint }) => b.op('MatMulInteger', [operand, codes, zeroPoint!], {}, { name });
    },
    integer: true,
  };
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
  return dtype === 'int8' ? packed : b.op('Cast', [packed], { to: 3 }, { name: `${name}/int8` });
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
