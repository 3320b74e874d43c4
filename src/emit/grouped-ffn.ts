import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { emitActivation } from './activation.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import type { ExpertEmitter } from './expert-emitter.ts';
import type { QuantizedExpert, QuantizedLinear } from './quantized-expert.ts';
import { splitByExpert } from './split-by-expert.ts';

/** What the linears of a form multiply with weights: `operand · scales` stands for the input. */
export interface Operand {
  /** [n, in]. */
  operand: Value;
  /** [n, 1], or null for 1. */
  scales: Value | null;
  /** The code of zero, for integer operands. */
  zeroPoint?: Value;
}

/** How one target writes quantized linears. */
export interface LinearForm {
  /** `part` says which linears read `x`: gate and up, or down. */
  prepare(b: Builder, x: Value, part: 'input' | 'hidden'): Operand;
  /** One expert's product [n, out], without bias; `name` is gate, up or down. */
  product(b: Builder, name: string, weight: QuantizedTensor, input: Operand): Value;
  /** True when scales per output channel are left out of `product` and follow for all experts at once. */
  channelScalesApart: boolean;
}

/**
 * The experts of a layer, gate and up, activation, down, in one form. Only the products are written per expert; what
 * works on single elements is written once, for the pairs of all experts, so that an idle expert costs next to
 * nothing and a busy one little beside its products.
 */
export function groupedFfn(
  layer: MoeLayer,
  weightsOf: (expert: MoeLayer['experts'][number]) => QuantizedExpert,
  form: LinearForm,
): ExpertEmitter {
  const experts = layer.experts.filter(({ kind }) => kind === 'ffn');
  return (b, tokens, dispatch) => {
    const weights = experts.map(weightsOf);
    const linear = (
      name: string,
      result: string,
      input: Operand,
      parts: readonly Value[],
      linears: readonly QuantizedLinear[],
    ): Value => {
      const products = linears.map(({ weight }, i) =>
        form.product(builder(b.graph, `moeq/${experts[i].id}`), name, weight, {
          ...input,
          operand: parts[i],
        }),
      );
      const all = b.op('Concat', products, { axis: 0 }, { name: `${name}/products` });
      return finish(
        b,
        { name, result },
        { all, scales: input.scales },
        linears,
        dispatch,
        form.channelScalesApart,
      );
    };
    const split = ({ operand }: Operand): Value[] =>
      splitByExpert(b, operand, dispatch.counts, experts.length);
    const input = pairRows(b, form.prepare(b, tokens, 'input'), dispatch);
    const rows = split(input);
    const gates = weights.map(({ gate }) => gate).filter((gate) => gate !== null);
    const gate = gates.length > 0 ? linear('gate', 'gate', input, rows, gates) : null;
    const ups = weights.map(({ up }) => up);
    const up = linear('up', 'up', input, rows, ups);
    const hidden = form.prepare(b, emitActivation(b, layer.activation, gate, up), 'hidden');
    const downs = weights.map(({ down }) => down);
    return linear('down', 'results', hidden, split(hidden), downs);
  };
}

/** The tokens' rows for each pair. A weight on the input of an expert joins the scales. */
function pairRows(b: Builder, prepared: Operand, { tokens, inputWeights }: Dispatch): Operand {
  const operand = b.op('Gather', [prepared.operand, tokens], {}, { name: 'pair_operand' });
  const scales = prepared.scales && b.op('Gather', [prepared.scales, tokens], {}, { name: 'pair_scales' });
  if (!inputWeights) return { ...prepared, operand, scales };
  if (!scales) return { ...prepared, operand: b.op('Mul', [operand, inputWeights]), scales };
  return { ...prepared, operand, scales: b.op('Mul', [scales, inputWeights]) };
}

/** Scales and biases of all pairs: from products [S, out] to the results of the linears. */
function finish(
  b: Builder,
  { name, result }: { name: string; result: string },
  { all, scales }: { all: Value; scales: Value | null },
  linears: readonly QuantizedLinear[],
  { experts }: Dispatch,
  channelScalesApart: boolean,
): Value {
  const hasBias = linears.some(({ bias }) => bias !== null);
  const { rows } = linears[0].weight;
  const perPair = (part: string, vectorOf: (linear: QuantizedLinear) => Float32Array): Value => {
    const table = new Float32Array(linears.length * rows);
    linears.forEach((linear, i) => table.set(vectorOf(linear), i * rows));
    return b.op('Gather', [b.constant(`${name}/${part}`, 'float32', [linears.length, rows], table), experts]);
  };
  const steps: ((value: Value, hint: string) => Value)[] = [];
  if (scales) steps.push((value, hint) => scaleRows(b, value, scales, hint));
  if (channelScalesApart)
    steps.push((value, hint) =>
      b.op('Mul', [value, perPair('scales', ({ weight }) => weight.scales)], {}, { name: hint }),
    );
  if (hasBias)
    steps.push((value, hint) =>
      b.op('Add', [value, perPair('bias', ({ bias }) => bias ?? new Float32Array(rows))], {}, { name: hint }),
    );
  if (steps.length === 0) return b.op('Identity', [all], {}, { name: result });
  return steps.reduce(
    (value, step, i) => step(value, i === steps.length - 1 ? result : `${name}/scaled`),
    all,
  );
}

/** int32 sums [n, out] times scales [n, 1], in one pass. */
function scaleRows(b: Builder, sums: Value, scales: Value, name: string): Value {
  const vector = b.op('Reshape', [scales, b.ints([-1])]);
  return b.op('DequantizeLinear', [sums, vector], { axis: 0 }, { name });
}
