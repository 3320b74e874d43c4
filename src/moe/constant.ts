import type { Tensor } from '../onnx/tensor.ts';
import type { Value } from '../onnx/value.ts';
import { readFloats } from '../tensor/view.ts';

/** Constants up to this size are read while matching; weights never are. */
const readLimit = 1024;

/** The stored tensor behind a value: an initializer or the payload of a Constant node. */
export function tensorOf(value: Value | null | undefined): Tensor | null {
  if (!value) return null;
  if (value.tensor) return value.tensor;
  const { producer } = value;
  return producer?.opType === 'Constant' ? (producer.tensors.get('value') ?? null) : null;
}

/** True for initializers and Constant nodes, whatever their size. */
export function isConstant(value: Value | null | undefined): boolean {
  return tensorOf(value) !== null || value?.producer?.opType === 'Constant';
}

/** The numbers of a small constant, flat; null for anything else. */
export function numbersOf(value: Value | null | undefined): number[] | null {
  const tensor = tensorOf(value);
  if (tensor) return readSmall(tensor);
  const node = value?.producer;
  if (node?.opType !== 'Constant') return null;
  const { i, f } = node.attributes.get('value_int') ?? node.attributes.get('value_float') ?? {};
  const scalar = i ?? f;
  if (scalar !== undefined) return [Number(scalar)];
  return node.ints('value_ints') ?? node.attributes.get('value_floats')?.floats ?? null;
}

/** The number of a constant that holds exactly one; null for anything else. */
export function scalarOf(value: Value | null | undefined): number | null {
  const numbers = numbersOf(value);
  return numbers?.length === 1 ? numbers[0] : null;
}

function readSmall({ source }: Tensor): number[] | null {
  if (source.byteLength > readLimit) return null;
  if (source.dtype === 'bool') return [...source.read()];
  const readable = ['float32', 'float64', 'float16', 'bfloat16', 'int8', 'uint8', 'int32', 'int64'];
  return readable.includes(source.dtype) ? [...readFloats(source)] : null;
}

/** True for a tensor of zeros of any size, as far as the graph shows it. */
export function isZero(value: Value): boolean {
  const numbers = numbersOf(value);
  if (numbers) return numbers.every((number) => number === 0);
  const node = value.producer;
  if (!node) return false;
  if (node.opType === 'ConstantOfShape') {
    const fill = node.tensors.get('value');
    return !fill || (readSmall(fill)?.every((number) => number === 0) ?? false);
  }
  const keeps = [
    'Expand',
    'Cast',
    'Reshape',
    'Unsqueeze',
    'Squeeze',
    'Identity',
    'Tile',
    'Slice',
    'Transpose',
  ];
  return keeps.includes(node.opType) && node.inputs[0] !== null && isZero(node.inputs[0]);
}
