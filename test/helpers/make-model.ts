import type { Builder } from '../../src/onnx/build.ts';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { newModel } from '../../src/onnx/model.ts';
import { Value } from '../../src/onnx/value.ts';
import type { DataType } from '../../src/tensor/dtype.ts';
import { codeOf } from '../../src/tensor/dtype.ts';

type Dims = readonly (number | string)[];

/** A model from declared inputs and a function that emits nodes and returns the outputs by name. */
export function makeModel(
  inputs: Record<string, readonly [DataType, Dims]>,
  build: (b: Builder, ...inputs: Value[]) => Record<string, Value>,
  { opset = 21, irVersion = 10 } = {},
): Model {
  const graph = new Graph('test');
  graph.inputs = Object.entries(inputs).map(([name, [dtype, dims]]) =>
    declared(graph.uniqueName(name), dtype, dims),
  );
  const outputs = build(builder(graph, ''), ...graph.inputs);
  graph.outputs = Object.entries(outputs).map(([name, value]) => {
    value.name = graph.uniqueName(name);
    return value;
  });
  return newModel(graph, { '': opset }, irVersion, 'test.onnx');
}

/** A value with a declared tensor type. */
export function declared(name: string, dtype: DataType, dims: Dims): Value {
  const dim = dims.map((each) => (typeof each === 'number' ? { dimValue: each } : { dimParam: each }));
  return new Value(name, { name, type: { tensorType: { elemType: codeOf(dtype), shape: { dim } } } });
}
