import type { Value } from '../onnx/value.ts';
import type { DataType } from '../tensor/dtype.ts';
import { dataTypeOf } from '../tensor/dtype.ts';

/**
 * The element type of activations: as declared, else that of the operand they share it with. Exporters often declare
 * nothing between the inputs and the outputs of a graph. Undefined where the way back ends at something else.
 */
export function elementTypeOf(value: Value): DataType | undefined {
  for (let at: Value | null | undefined = value; at; at = sharingOperand(at)) {
    if (at.dtype) return at.dtype;
    if (at.producer?.opType === 'Cast') return dataTypeOf(at.producer.int('to') ?? 0);
  }
  return undefined;
}

/** The first operand has the type of the result, in every operator that carries hidden states but Where. */
function sharingOperand({ producer }: Value): Value | null | undefined {
  return producer?.inputs[producer.opType === 'Where' ? 1 : 0];
}
