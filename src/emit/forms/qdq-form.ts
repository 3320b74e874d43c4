import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { ActivationGrid } from '../../quantize/activation.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import type { LinearForm } from '../linear-form.ts';
import { fakeQuantize } from './fake-quantize.ts';
import { packCodes, storageOf } from './pack-codes.ts';
import { scaleConstant } from './scale-constant.ts';

/**
 * Standard ONNX: DequantizeLinear of INT2, INT4 or INT8 weights into Gemm, activations through QuantizeLinear and
 * DequantizeLinear. Weights keep the layout [out, in] (Gemm with transB): ONNX Runtime fuses the other layout into
 * MatMulNBits, which rounds activations to 8 bits once more.
 */
export function qdqForm(gridOf: (width: number) => ActivationGrid | null): LinearForm {
  return {
    prepare: (b, x, { width }) => ({ operand: fakeQuantize(b, x, gridOf(width)), scales: null }),
    linear(b, name, weight) {
      const float = dequantized(b, name, weight);
      return {
        product: (inner, { operand }) => inner.op('Gemm', [operand, float], { transB: 1 }, { name }),
      };
    },
    integer: false,
  };
}

/** The float32 weight [out, in]. */
function dequantized(b: Builder, name: string, weight: QuantizedTensor): Value {
  const { rows, cols, groupSize, codes, scales } = weight;
  const dtype = storageOf(weight);
  const isPerChannel = groupSize >= cols;
  const shape = isPerChannel ? [rows] : [rows, scales.length / rows];
  const inputs = [
    b.constant(`${name}/weight`, dtype, [rows, cols], packCodes(codes, dtype)),
    scaleConstant(b, `${name}/scales`, shape, scales),
  ];
  const attributes = isPerChannel ? { axis: 0 } : { axis: 1, block_size: groupSize };
  return b.op('DequantizeLinear', inputs, attributes, { name: `${name}/float` });
}
