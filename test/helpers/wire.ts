import type { DataType } from '../../src/tensor/dtype.ts';
import { codeOf } from '../../src/tensor/dtype.ts';

/** What a protobuf field may hold here: a varint, a text, or bytes (a message or a packed list). */
export type Content = number | bigint | string | Uint8Array;

/** A protobuf message, written without any schema: an independent way to make files. */
export function message(...fields: readonly (readonly [number, Content])[]): Uint8Array {
  return Buffer.concat(fields.flatMap(([field, content]) => encode(field, content)));
}

export function varint(value: number | bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return Uint8Array.from([...bytes, Number(rest)]);
}

function encode(field: number, content: Content): Uint8Array[] {
  if (typeof content === 'number' || typeof content === 'bigint') return [varint(field * 8), varint(content)];
  const body = typeof content === 'string' ? Buffer.from(content) : content;
  return [varint(field * 8 + 2), varint(body.length), body];
}

export type Fields = (readonly [number, Content])[];

/** A ModelProto of operator set 21 around the given fields of its graph. */
export function modelOf(graph: Fields, rest: Fields = []): Uint8Array {
  return message([1, 10], [8, message([2, 21])], [7, message([2, 'g'], ...graph)], ...rest);
}

export function node(
  opType: string,
  inputs: string[],
  outputs: string[],
  attributes: Uint8Array[] = [],
): Uint8Array {
  return message(
    ...inputs.map((name) => [1, name] as const),
    ...outputs.map((name) => [2, name] as const),
    [4, opType],
    ...attributes.map((attribute) => [5, attribute] as const),
  );
}

export function valueInfo(name: string, type: DataType, dims: readonly number[]): Uint8Array {
  const shape = message(...dims.map((dim) => [1, message([1, dim])] as const));
  return message([1, name], [2, message([1, message([1, codeOf(type)], [2, shape])])]);
}

/** One entry of the place of a tensor in a file beside the model. */
export function externalEntry(key: string, value: string): Fields[0] {
  return [13, message([1, key], [2, value])];
}

/** Which fields of which ONNX messages are messages themselves. */
const nested: Record<string, Record<number, string>> = {
  model: { 7: 'graph', 8: 'leaf', 14: 'leaf', 25: 'function' },
  function: { 7: 'node', 9: 'leaf', 11: 'attribute', 12: 'value' },
  graph: {
    1: 'node',
    5: 'tensor',
    11: 'value',
    12: 'value',
    13: 'value',
    14: 'leaf',
    15: 'sparse',
    16: 'leaf',
  },
  node: { 5: 'attribute', 9: 'leaf' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 14: 'type', 22: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  tensor: { 3: 'leaf', 13: 'leaf', 16: 'leaf' },
  value: { 2: 'type', 4: 'leaf' },
  type: { 1: 'tensorType' },
  tensorType: { 2: 'shape' },
  shape: { 1: 'leaf' },
  leaf: {},
};

/**
 * The fields of an encoded ONNX message as plain data, sorted by number: equal for two encodings of the same
 * message, different if any field, known or not, was lost or moved to another place. Empty fields count as absent.
 */
export function canonical(bytes: Uint8Array, kind = 'model'): unknown[] {
  const fields = fieldsOf(bytes).filter(
    ({ content }) => !(content instanceof Uint8Array) || content.length > 0,
  );
  return fields
    .toSorted((a, b) => a.field - b.field)
    .map(({ field, wireType, content }) => {
      const inner = nested[kind][field];
      if (!(content instanceof Uint8Array)) return [field, content];
      return [
        field,
        inner && wireType === 2 ? canonical(content, inner) : Buffer.from(content).toString('hex'),
      ];
    });
}

interface Field {
  field: number;
  wireType: number;
  content: bigint | Uint8Array;
}

function fieldsOf(bytes: Uint8Array): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const next = (): bigint => {
    let value = 0n;
    for (let shift = 0n; at < bytes.length; shift += 7n) {
      value |= BigInt(bytes[at] & 127) << shift;
      if (bytes[at++] < 128) break;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = Number(next());
    const wireType = tag % 8;
    const take = (length: number): Uint8Array => bytes.subarray(at, (at += length));
    const content = wireType === 0 ? next() : take(wireType === 2 ? Number(next()) : wireType === 1 ? 8 : 4);
    fields.push({ field: tag >>> 3, wireType, content });
  }
  return fields;
}

/**
 * Changes one field somewhere inside a well-formed message; the lengths around it stay true. `change` gives what
 * stands there instead: nothing, one field or several.
 */
export function changeField(
  bytes: Uint8Array,
  pick: (below: number) => number,
  change: (field: Field) => Field[],
  kind = 'model',
): Uint8Array {
  const fields = fieldsOf(bytes);
  const chosen = pick(fields.length);
  const parts = fields.flatMap((each, index) => {
    if (index !== chosen) return [each];
    const inner = nested[each.wireType === 2 ? kind : 'leaf'][each.field];
    if (!inner || pick(8) === 0 || each.content.toString() === '') return change(each);
    return [{ ...each, content: changeField(each.content as Uint8Array, pick, change, inner) }];
  });
  return Buffer.concat(parts.flatMap(encodeField));
}

function encodeField({ field, wireType, content }: Field): Uint8Array[] {
  const tag = varint(field * 8 + wireType);
  if (typeof content === 'bigint') return [tag, varint(content)];
  return wireType === 2 ? [tag, varint(content.length), content] : [tag, content];
}

/** A packed list of varints. */
export function packed(...values: (number | bigint)[]): Uint8Array {
  return Buffer.concat(values.map(varint));
}

export function bytesOf(array: ArrayBufferView): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
