import type { Builder } from '../../onnx/build.ts';
import { builder } from '../../onnx/build.ts';
import type { Graph } from '../../onnx/graph.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import { codeOf } from '../../tensor/dtype.ts';
import { noClips } from '../forms/activation-clips.ts';
import { choiceOf, chooseWay } from '../forms/choose-way.ts';
import { intForm } from '../forms/int-form.ts';
import { nbitsForm } from '../forms/nbits-form.ts';
import { qdqForm } from '../forms/qdq-form.ts';
import { scaleConstant } from '../forms/scale-constant.ts';
import type { LinearForm } from '../grouped-ffn.ts';
import { scaleRows } from '../grouped-ffn.ts';
import type { ResolvedTarget } from '../resolve-target.ts';

/**
 * Writes a plain linear (see `linearView`) anew with a quantized weight, in the form of a target; its readers then read
 * what is returned. Element type and leading dimensions stay. Names begin with `prefix`.
 */
export function replaceLinear(
  graph: Graph,
  node: Node,
  weight: QuantizedTensor,
  { prefix, resolved }: { prefix: string; resolved: ResolvedTarget },
): Value {
  const b = builder(graph, prefix);
  const [input, , bias] = node.inputs;
  const shaped = b.op('Reshape', [input, b.ints([-1, weight.cols])]);
  const rows = b.op('Cast', [shaped], { to: codeOf('float32') }, { name: 'rows' });
  let product = runLinear(b, formOf(resolved), weight, rows);
  if (bias)
    product = b.op('Add', [product, b.op('Cast', [bias], { to: codeOf('float32') })], {}, { name: 'biased' });
  const typed = b.op('CastLike', [product, input], {}, { name: 'typed' });
  const leading = b.op('Shape', [input], { start: 0, end: -1 });
  const shape = b.op('Concat', [leading, b.ints([weight.rows])], { axis: 0 });
  const output = b.op('Reshape', [typed, shape], {}, { name: 'output' });
  graph.replaceAllUses(node.outputs[0]!, output);
  return output;
}

function formOf({ target, scheme: { activationBits } }: ResolvedTarget): LinearForm {
  if (target === 'int') return intForm(activationBits!, noClips, Infinity);
  if (target === 'qdq') return qdqForm(activationBits, noClips);
  return nbitsForm({ activationBits, clips: noClips, accuracyLevel: 4, packed: false });
}

function runLinear(b: Builder, form: LinearForm, weight: QuantizedTensor, x: Value): Value {
  const { product, otherWay } = form.linear(b, 'linear', weight);
  const input = form.prepare(b, x, 'input');
  const [result] = chooseWay(
    b,
    choiceOf(b, otherWay, null),
    (inner) => [product(inner, input)],
    (inner, other) => [other.product(inner, other.prepare(inner, input))],
  );
  if (!form.integer) return result;
  const scaled = scaleRows(b, result, input.scales!, 'scaled');
  const scales = scaleConstant(b, 'linear/scales', [weight.rows], weight.scales);
  return b.op('Mul', [scaled, scales], {}, { name: 'product' });
}
