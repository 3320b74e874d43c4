import type { Model } from '../onnx/model.ts';
import { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';

/** Adds the graph input [positions] bool that tells tokens from padding; see `validRows`. */
export function addValidInput(model: Model): Value {
  const value = new Value(model.graph.uniqueName('moeq/valid'), {
    name: 'moeq/valid',
    type: { tensorType: { elemType: codeOf('bool') } },
  });
  model.graph.inputs.push(value);
  return value;
}
