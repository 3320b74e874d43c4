import { decodeNumbers } from '../tensor/decode.ts';
import type { DataType } from '../tensor/dtype.ts';
import { countOf, isFloat } from '../tensor/dtype.ts';
import { encodeNumbers } from '../tensor/encode.ts';
import type { AttributeProto } from './messages.ts';
import { attributeType } from './messages.ts';
import type { Node } from './node.ts';
import type { Tensor } from './tensor.ts';
import { makeTensor } from './tensor.ts';
import { int64Bytes } from './typed-data.ts';
import type { Value } from './value.ts';

/** Lists longer than this are no shapes, axes or scalars. */
const smallLimit = 1024;

/**
 * The constant behind a value: an initializer, or a Constant node in any of its forms, also through Identity.
 * Null for values that are computed, for sparse constants, and for references to attributes of a function.
 */
export function constantOf(value: Value | null): Tensor | null {
  let origin = value;
  while (origin?.producer?.opType === 'Identity') origin = origin.producer.inputs[0] ?? null;
  if (!origin) return null;
  if (origin.tensor) return origin.tensor;
  return origin.producer?.opType === 'Constant' ? constantNode(origin.producer) : null;
}

/** The integers of a small constant of an integer type or bool, in row-major order; null for anything else. */
export function smallInts(value: Value | null): number[] | null {
  return smallNumbers(value, isInteger);
}

/** The numbers of a small constant of a floating-point type, in row-major order; null for anything else. */
export function smallFloats(value: Value | null): number[] | null {
  return smallNumbers(value, isFloat);
}

function smallNumbers(value: Value | null, accepts: (dtype: DataType) => boolean): number[] | null {
  const source = constantOf(value)?.source;
  if (!source || !accepts(source.dtype) || countOf(source.shape) > smallLimit) return null;
  return Array.from(decodeNumbers(source.read(), source.dtype));
}

function isInteger(dtype: DataType): boolean {
  return /^(u?int(8|16|32|64)|bool)$/.test(dtype);
}

function constantNode(node: Node): Tensor | null {
  const tensor = node.tensors.get('value');
  if (tensor) return tensor;
  const attribute = [...node.attributes.values()].find(({ name }) => name.startsWith('value_'));
  return attribute && !attribute.refAttrName ? listed(attribute) : null;
}

/** The `value_*` forms of Constant. A zero is not written to the file, so that the type decides. */
function listed({
  name,
  type,
  f = 0,
  i = 0,
  s,
  floats = [],
  ints = [],
  strings = [],
}: AttributeProto): Tensor | null {
  switch (type) {
    case attributeType.float:
      return makeTensor(name, 'float32', [], encodeNumbers([f], 'float32'));
    case attributeType.floats:
      return makeTensor(name, 'float32', [floats.length], encodeNumbers(floats, 'float32'));
    case attributeType.int:
      return makeTensor(name, 'int64', [], int64Bytes([i]));
    case attributeType.ints:
      return makeTensor(name, 'int64', [ints.length], int64Bytes(ints));
    case attributeType.string:
      return stringTensor(name, [], [s ?? new Uint8Array(0)]);
    case attributeType.strings:
      return stringTensor(name, [strings.length], strings);
    default:
      return null;
  }
}

function stringTensor(name: string, shape: number[], stringData: Uint8Array[]): Tensor {
  const tensor = makeTensor(name, 'string', shape, new Uint8Array(0));
  tensor.proto.stringData = stringData;
  return tensor;
}
