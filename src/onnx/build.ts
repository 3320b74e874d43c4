import type { DataType } from '../tensor/dtype.ts';
import { codeOf } from '../tensor/dtype.ts';
import { bytesOf, encodeNumbers } from '../tensor/encode.ts';
import type { ByteSource } from '../tensor/source.ts';
import { Graph } from './graph.ts';
import type { AttributeProto } from './messages.ts';
import { attributeType } from './messages.ts';
import type { Node } from './node.ts';
import type { Tensor } from './tensor.ts';
import { makeTensor } from './tensor.ts';
import type { Value } from './value.ts';

/** A number is an int and a list of numbers is ints; everything else says what it is. */
export type AttributeValue =
  | number
  | string
  | readonly number[]
  | { f: number }
  | { floats: readonly number[] }
  | { strings: readonly string[] }
  | { tensor: Tensor }
  | Graph;

interface OpOptions {
  domain?: string;
  /** Hint for the names of the node and its outputs; the operator's name by default. */
  name?: string;
  /** The same for outputs by themselves. */
  outputs?: readonly string[];
}

/** Emits nodes into one graph. All names start with the builder's prefix. */
export interface Builder {
  readonly graph: Graph;
  /** Adds a node and returns its only output. */
  op(
    opType: string,
    inputs: readonly (Value | null)[],
    attributes?: Record<string, AttributeValue>,
    options?: OpOptions,
  ): Value;
  /** Adds a node with `count` outputs. */
  ops(
    count: number,
    opType: string,
    inputs: readonly (Value | null)[],
    attributes?: Record<string, AttributeValue>,
    options?: OpOptions,
  ): Value[];
  /** Adds a Cast to an element type. */
  cast(value: Value, dtype: DataType, name?: string): Value;
  /** Adds an initializer from raw bytes, a typed array in raw form, or plain numbers (which are converted). */
  constant(
    name: string,
    dtype: DataType,
    shape: readonly number[],
    data: readonly number[] | ArrayBufferView | ByteSource,
  ): Value;
  /** An int64 constant: a scalar for a number, a vector for a list (shapes, axes, indices). */
  ints(values: number | readonly number[], name?: string): Value;
  /**
   * A graph for If, Loop or Scan, to be passed as an attribute. `build` may read any value visible here, and
   * returns the outputs.
   */
  subgraph(name: string, build: (inner: Builder) => Value[]): Graph;
}

export function builder(graph: Graph, prefix: string): Builder {
  const path = (hint: string): string => (prefix === '' ? hint : `${prefix}/${hint}`);

  const self: Builder = {
    graph,
    op: (opType, inputs, attributes, options) => self.ops(1, opType, inputs, attributes, options)[0],
    ops(count, opType, inputs, attributes = {}, { domain, name = opType, outputs } = {}) {
      const hints = Array.from({ length: count }, (_, index) =>
        path(outputs?.[index] ?? (count === 1 ? name : `${name}_out${index}`)),
      );
      const node = graph.addNode(opType, inputs, {
        name: path(name),
        outputs: hints,
        ...(domain && { domain }),
      });
      for (const [key, value] of Object.entries(attributes)) setAttribute(node, key, value);
      return node.outputs as Value[];
    },
    cast: (value, dtype, name = 'Cast') => self.op('Cast', [value], { to: codeOf(dtype) }, { name }),
    constant(name, dtype, shape, data) {
      return graph.addConstant(makeTensor(path(name), dtype, shape, rawOf(data, dtype)));
    },
    ints(values, name = 'ints') {
      return typeof values === 'number'
        ? self.constant(name, 'int64', [], [values])
        : self.constant(name, 'int64', [values.length], values);
    },
    subgraph(name, build) {
      const inner = builder(new Graph(name, graph), path(name));
      // An output must be made inside: what only passes through goes through an Identity.
      inner.graph.outputs = build(inner).map((value) =>
        value.producer?.graph === inner.graph ? value : inner.op('Identity', [value]),
      );
      return inner.graph;
    },
  };
  return self;
}

function rawOf(
  data: readonly number[] | ArrayBufferView | ByteSource,
  dtype: DataType,
): Uint8Array | ByteSource {
  if (ArrayBuffer.isView(data)) return bytesOf(data);
  return 'read' in data ? data : encodeNumbers(data, dtype);
}

/** Gives a node an attribute, or another value of one it has. */
export function setAttribute(node: Node, name: string, value: AttributeValue): void {
  node.attributes.set(name, { name, ...attributeOf(value) });
  if (value instanceof Graph) node.addSubgraphs(name, [value]);
  else if (typeof value === 'object' && 'tensor' in value) node.tensors.set(name, value.tensor);
}

function attributeOf(value: AttributeValue): Omit<AttributeProto, 'name'> {
  if (value instanceof Graph) return { type: attributeType.graph, g: {} };
  if (typeof value === 'number') return { type: attributeType.int, i: integer(value) };
  if (typeof value === 'string') return { type: attributeType.string, s: utf8(value) };
  if ('f' in value) return { type: attributeType.float, f: value.f };
  if ('floats' in value) return { type: attributeType.floats, floats: [...value.floats] };
  if ('strings' in value) return { type: attributeType.strings, strings: value.strings.map(utf8) };
  if ('tensor' in value) return { type: attributeType.tensor, t: value.tensor.proto };
  return { type: attributeType.ints, ints: value.map(integer) };
}

function integer(value: number): number {
  if (!Number.isSafeInteger(value)) throw new TypeError(`${value} is no integer: pass { f: ${value} }`);
  return value;
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
