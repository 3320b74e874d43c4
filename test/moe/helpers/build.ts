import { Graph } from '../../../src/onnx/graph.ts';
import type { AttributeProto } from '../../../src/onnx/messages.ts';
import type { Model } from '../../../src/onnx/model.ts';
import { makeTensor } from '../../../src/onnx/tensor.ts';
import { Value } from '../../../src/onnx/value.ts';
import { bytesOf } from '../../../src/tensor/encode.ts';
import { random } from './run-model.ts';

type Attributes = Record<string, number | number[] | string>;

/** A small graph written node by node; inputs and weights are random but reproducible. */
export interface Builder {
  graph: Graph;
  model: Model;
  input: (name: string, shape: (number | string)[]) => Value;
  weight: (name: string, shape: number[]) => Value;
  ints: (...values: number[]) => Value;
  index: (value: number) => Value;
  scalar: (value: number) => Value;
  /** Adds a node and gives its first output. */
  add: (opType: string, inputs: (Value | null)[], attributes?: Attributes) => Value;
  /** Adds a node and gives all its outputs. */
  many: (opType: string, count: number, inputs: (Value | null)[], attributes?: Attributes) => Value[];
  output: (value: Value) => void;
}

export function builder(): Builder {
  const graph = new Graph('test');
  const next = random(3);
  const model: Model = {
    path: 'test.onnx',
    byteLength: 0,
    graph,
    irVersion: 9,
    opsets: new Map([
      ['', 20],
      ['com.microsoft', 1],
    ]),
    metadata: [],
    functions: [],
    proto: {},
  };
  const tensor = (name: string, type: 'float32' | 'int64', shape: number[], data: ArrayBufferView): Value =>
    graph.addConstant(makeTensor(name, type, shape, bytesOf(data)));
  const integers = (shape: number[], values: number[]): Value =>
    tensor('ints', 'int64', shape, BigInt64Array.from(values, BigInt));
  const many: Builder['many'] = (opType, count, inputs, attributes = {}) =>
    graph.addNode(opType, inputs, {
      name: `${opType}_${graph.nodes.length}`,
      domain: ['MoE', 'QMoE', 'QuickGelu'].includes(opType) ? 'com.microsoft' : '',
      attributes: Object.entries(attributes).map(([name, value]) => attribute(name, value)),
      outputs: Array.from({ length: count }, () => opType.toLowerCase()),
    }).outputs as Value[];
  return {
    graph,
    model,
    input(name, shape) {
      const dim = shape.map((each) => (typeof each === 'number' ? { dimValue: each } : { dimParam: each }));
      const value = new Value(graph.uniqueName(name), {
        name,
        type: { tensorType: { elemType: 1, shape: { dim } } },
      });
      graph.inputs.push(value);
      return value;
    },
    weight: (name, shape) =>
      tensor(
        name,
        'float32',
        shape,
        Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => next() - 0.5),
      ),
    ints: (...values) => integers([values.length], values),
    index: (value) => integers([], [value]),
    scalar: (value) => tensor('scalar', 'float32', [], Float32Array.of(value)),
    add: (opType, inputs, attributes) => many(opType, 1, inputs, attributes)[0],
    many,
    output: (value) => void graph.outputs.push(value),
  };
}

function attribute(name: string, value: number | number[] | string): AttributeProto {
  if (typeof value === 'string') return { name, type: 3, s: new TextEncoder().encode(value) };
  if (Array.isArray(value)) return { name, type: 7, ints: value };
  return Number.isInteger(value) ? { name, type: 2, i: value } : { name, type: 1, f: value };
}
