import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { emitActivation } from './activation.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import type { PairEmitter } from './expert-emitter.ts';
import type { QuantizedExpert, QuantizedLinear } from './quantized-expert.ts';
import { scaleConstant } from './scale-constant.ts';
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

/** Which linears read a value: gate and up the layer's input, down the hidden activations. */
export type Part = 'input' | 'hidden';

/** How one target writes quantized linears. */
export interface LinearForm {
  prepare(b: Builder, x: Value, part: Part): Operand;
  /**
   * Writes one expert's weight (`name` is gate, up or down) and returns what multiplies with it: from the expert's rows
   * to the product [n, out], without bias.
   */
  linear(b: Builder, name: string, weight: QuantizedTensor): (input: Operand) => Value;
  /** True when products are int32 sums of codes, whose scales (per token, per channel) follow for all experts at once. */
  integer: boolean;
}

/**
 * The experts of a layer, gate and up, activation, down, in one form. Only the products are written per expert; what
 * works on single elements is written once, for the pairs of all experts, so that an idle expert costs next to
 * nothing and a busy one little beside its products. Of the weights one expert at a time is in memory.
 */
export function groupedFfn(
  layer: MoeLayer,
  weightsOf: (expert: MoeLayer['experts'][number]) => QuantizedExpert,
  form: LinearForm,
): PairEmitter {
  const experts = layer.experts.filter(({ kind }) => kind === 'ffn');
  const emit: PairEmitter['emit'] = (b, tokens, dispatch) => {
    const gates: WrittenLinear[] = [];
    const ups: WrittenLinear[] = [];
    const downs: WrittenLinear[] = [];
    for (const expert of experts) {
      const { gate, up, down } = weightsOf(expert);
      const inner = builder(b.graph, `moeq/${expert.id}`);
      if (gate) gates.push(writeLinear(inner, form, 'gate', gate));
      ups.push(writeLinear(inner, form, 'up', up));
      downs.push(writeLinear(inner, form, 'down', down));
    }
    const input = pairRows(b, form.prepare(b, tokens, 'input'), dispatch);
    const rows = splitByExpert(b, input.operand, dispatch.counts, experts.length);
    const linears = { b, form, dispatch };
    const gate = gates.length > 0 ? runLinears(linears, gates, input, rows, 'gate') : null;
    const up = runLinears(linears, ups, input, rows, 'up');
    const hidden = form.prepare(b, emitActivation(b, layer.activation, gate, up), 'hidden');
    const hiddenRows = splitByExpert(b, hidden.operand, dispatch.counts, experts.length);
    return runLinears(linears, downs, hidden, hiddenRows, 'results');
  };
  return { kind: 'pairs', emit };
}

/** A linear whose weight is in the graph already. */
interface WrittenLinear {
  name: string;
  product: (input: Operand) => Value;
  scales: Float32Array;
  bias: Float32Array | null;
  /** Output channels. */
  width: number;
}

function writeLinear(
  b: Builder,
  form: LinearForm,
  name: string,
  { weight, bias }: QuantizedLinear,
): WrittenLinear {
  return { name, product: form.linear(b, name, weight), scales: weight.scales, bias, width: weight.rows };
}

/** The tokens' rows for each pair. A weight on the input of an expert joins the scales. */
function pairRows(b: Builder, prepared: Operand, { tokens, inputWeights }: Dispatch): Operand {
  const operand = b.op('Gather', [prepared.operand, tokens], {}, { name: 'pair_operand' });
  const scales = prepared.scales && b.op('Gather', [prepared.scales, tokens], {}, { name: 'pair_scales' });
  if (!inputWeights) return { ...prepared, operand, scales };
  if (!scales) return { ...prepared, operand: b.op('Mul', [operand, inputWeights]), scales };
  return { ...prepared, operand, scales: b.op('Mul', [scales, inputWeights]) };
}

/** One linear of every expert, on its rows of the input; `result` names what they give, [S, out]. */
function runLinears(
  { b, form, dispatch }: { b: Builder; form: LinearForm; dispatch: Dispatch },
  linears: readonly WrittenLinear[],
  input: Operand,
  rows: readonly Value[],
  result: string,
): Value {
  const [{ name, width }] = linears;
  const table = (vectors: readonly (Float32Array | null)[]): Float32Array => {
    const values = new Float32Array(linears.length * width);
    vectors.forEach((vector, i) => vector && values.set(vector, i * width));
    return values;
  };
  const perPair = (constant: Value, part: string): Value =>
    b.op('Gather', [constant, dispatch.experts], {}, { name: `${name}/pair_${part}` });
  const shape = [linears.length, width];
  const products = linears.map(({ product }, i) => product({ ...input, operand: rows[i] }));
  const biases = linears.map(({ bias }) => bias);
  const hasBias = biases.some(Boolean);
  const last = hasBias ? `${name}/scaled` : result;
  let value = b.op('Concat', products, { axis: 0 }, { name: form.integer ? `${name}/sums` : last });
  if (form.integer) {
    const scaled = scaleRows(b, value, input.scales!, `${name}/per_token`);
    const channelScales = table(linears.map(({ scales }) => scales));
    const scales = perPair(scaleConstant(b, `${name}/scales`, shape, channelScales), 'scales');
    value = b.op('Mul', [scaled, scales], {}, { name: last });
  }
  if (!hasBias) return value;
  const bias = perPair(b.constant(`${name}/bias`, 'float32', shape, table(biases)), 'bias');
  return b.op('Add', [value, bias], {}, { name: result });
}

/** int32 sums [n, out] times scales [n, 1], in one pass. */
export function scaleRows(b: Builder, sums: Value, scales: Value, name: string): Value {
  const vector = b.op('Reshape', [scales, b.ints([-1])]);
  return b.op('DequantizeLinear', [sums, vector], { axis: 0 }, { name });
}
