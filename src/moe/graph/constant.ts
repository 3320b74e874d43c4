import { constantOf, smallFloats, smallInts } from '../../onnx/constant.ts';
import type { Tensor } from '../../onnx/tensor.ts';
import type { Value } from '../../onnx/value.ts';
import { decodeNumbers } from '../../tensor/decode.ts';

/** The stored tensor behind a value: an initializer or the payload of a Constant node. */
export function tensorOf(value: Value | null | undefined): Tensor | null {
  return constantOf(value ?? null);
}

/** True for initializers and Constant nodes, whatever their size. */
export function isConstant(value: Value | null | undefined): boolean {
  return tensorOf(value) !== null;
}

/** The numbers of a small constant, flat; null for anything else. Weights are never read while matching. */
export function numbersOf(value: Value | null | undefined): number[] | null {
  return smallInts(value ?? null) ?? smallFloats(value ?? null);
}

/** The number of a constant that holds exactly one; null for anything else. */
export function scalarOf(value: Value | null | undefined): number | null {
  const numbers = numbersOf(value);
  return numbers?.length === 1 ? numbers[0] : null;
}

/** True for a tensor of zeros of any size, as far as the graph shows it. */
export function isZero(value: Value): boolean {
  return isFilledWith(0, value);
}

/** True for a tensor that holds one number alone. */
export function isFilledWith(number: number, value: Value): boolean {
  const numbers = numbersOf(value);
  if (numbers) return numbers.every((each) => each === number);
  const node = value.producer;
  if (!node) return false;
  if (node.opType === 'ConstantOfShape') {
    const fill = node.tensors.get('value');
    return (fill ? decodeNumbers(fill.source.read(), fill.source.dtype) : [0]).every(
      (each) => each === number,
    );
  }
  const keeps = [
    'Expand',
    'Cast',
    'CastLike',
    'Reshape',
    'Unsqueeze',
    'Squeeze',
    'Identity',
    'Tile',
    'Slice',
    'Transpose',
  ];
  return keeps.includes(node.opType) && node.inputs[0] !== null && isFilledWith(number, node.inputs[0]);
}
