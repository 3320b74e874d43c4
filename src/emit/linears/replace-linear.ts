import type { Builder } from '../../onnx/build.ts';
import { builder } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { choiceOf, chooseWay } from '../forms/choose-way.ts';
import { formOf } from '../forms/form-of.ts';
import { scaleConstant } from '../forms/scale-constant.ts';
import { scaleRows } from '../forms/scale-rows.ts';
import type { ResolvedTarget } from '../resolve-target.ts';

/** A quantized weight that is in a graph, for any number of linears that read it. */
export interface StoredWeight {
  /** Names of what reads it begin with this. */
  prefix: string;
  rows: number;
  cols: number;
  /** From rows [n, cols] in float32 to their product, [n, rows]. */
  multiply: (b: Builder, x: Value) => Value;
}

/** Writes a weight in the form of a target. */
export function storeWeight(
  graph: Graph,
  weight: QuantizedTensor,
  { prefix, resolved }: { prefix: string; resolved: ResolvedTarget },
): StoredWeight {
  const { rows, cols } = weight;
  const written = builder(graph, prefix);
  const form = formOf(resolved, { fewRowsAbove: Infinity, accuracyLevel: 4 });
  const { product, otherWay } = form.linear(written, 'linear', weight);
  const scales = form.integer ? scaleConstant(written, 'linear/scales', [rows], weight.scales) : null;
  const multiply = (b: Builder, x: Value): Value => {
    const input = form.prepare(b, x, { part: 'input', width: cols });
    const [result] = chooseWay(
      b,
      choiceOf(b, otherWay, null),
      (inner) => [product(inner, input)],
      (inner, other) => [other.product(inner, other.prepare(inner, input))],
    );
    if (!scales) return result;
    return b.op('Mul', [scaleRows(b, result, input.scales!, 'scaled'), scales], {}, { name: 'product' });
  };
  return { prefix, rows, cols, multiply };
}

/**
 * Makes a plain linear (see `linearView`) read a stored weight; its readers then read what is returned. Element type and
 * leading dimensions stay.
 */
export function replaceLinear(
  graph: Graph,
  node: Node,
  { prefix, rows, cols, multiply }: StoredWeight,
): Value {
  const b = builder(graph, prefix);
  const [input, , bias] = node.inputs;
  const shaped = b.op('Reshape', [input, b.ints([-1, cols])]);
  let product = multiply(b, b.cast(shaped, 'float32', 'rows'));
  if (bias) product = b.op('Add', [product, b.cast(bias, 'float32')], {}, { name: 'biased' });
  const typed = b.op('CastLike', [product, input], {}, { name: 'typed' });
  const leading = b.op('Shape', [input], { start: 0, end: -1 });
  const shape = b.op('Concat', [leading, b.ints([rows])], { axis: 0 });
  const output = b.op('Reshape', [typed, shape], {}, { name: 'output' });
  graph.replaceAllUses(node.outputs[0]!, output);
  return output;
}
