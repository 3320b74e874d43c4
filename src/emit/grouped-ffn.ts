import { ffnExperts } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { QuantizedTensor } from '../quantize/quantized-tensor.ts';
import { stackRows } from '../quantize/quantized-tensor.ts';
import { emitActivation } from './activation.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import type { PairEmitter, QuantizedExpert, QuantizedLinear } from './expert-emitter.ts';
import { expertProducts } from './expert-products.ts';
import { scaleConstant } from './forms/scale-constant.ts';
import { shiftRows } from './shift-rows.ts';
import type { ResultRows } from './where-any.ts';
import { areMany } from './where-any.ts';

/** What the linears of a form multiply with weights: `operand · scales` stands for the input. */
export interface Operand {
  /** [n, in]. */
  operand: Value;
  /** [n, 1], or null for 1. */
  scales: Value | null;
  /** The code of zero, for integer operands. */
  zeroCode?: number;
  zeroPoint?: Value;
}

/** One expert's rows times its weight: from [n, in] to [n, out], without bias. Writes into the builder's graph. */
export type Product = (b: Builder, input: Operand) => Value;

/** Another way to the same product, which a graph takes when it is the better one. */
export interface OtherWay {
  /** Whether to take it, a bool; null for never. `areFew`: see `Dispatch`, null where rows are not counted. */
  when(b: Builder, areFew: Value | null): Value | null;
  /** From what the form prepared, for all weights that read it. */
  prepare(b: Builder, input: Operand): Operand;
  product: Product;
}

/** Rows that linears read: gate and up the layer's input, down the hidden activations. */
export interface LinearInput {
  part: 'input' | 'hidden';
  /** Channels. */
  width: number;
}

/** How one target writes quantized linears. */
export interface LinearForm {
  prepare(b: Builder, x: Value, input: LinearInput): Operand;
  /** Writes one expert's weight (`name` is gate, up, both in one as gate_up, or down) and returns what multiplies with it. */
  linear(b: Builder, name: string, weight: QuantizedTensor): { product: Product; otherWay?: OtherWay | null };
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
  const experts = ffnExperts(layer);
  const emit: PairEmitter['emit'] = (b, tokens, dispatch) => {
    const written: WrittenLinear[] = [];
    const shifts: (QuantizedTensor | null)[] = [];
    for (const expert of experts) {
      const weights = weightsOf(expert);
      for (const [name, linear] of linearsOf(weights, experts.length))
        written.push(writeLinear(b, form, { prefix: `moeq/${expert.id}`, name }, linear));
      shifts.push(weights.shift);
    }
    const isShifted = shifts.some(Boolean);
    const ofInput: LinearInput = { part: 'input', width: layer.hidden };
    const input = isShifted
      ? form.prepare(b, shiftRows(b, tokens, dispatch, shifts), ofInput)
      : pairRows(b, form.prepare(b, tokens, ofInput), dispatch);
    const run = (operand: Operand, banks: readonly LinearBank[]): Value[] =>
      runLinears({ b, form, dispatch }, operand, banks);
    const { down, ...first } = Object.groupBy(written, ({ name }) => name);
    const bias = isShifted ? 'offset' : 'bias';
    const banks = Object.entries(first).map(
      ([result, linears]) => ({ linears: linears!, result, bias }) as const,
    );
    const results = run(input, banks);
    const [up, gate = null] = (
      first['gate_up'] ? halves(b, results[0], layer.intermediate) : results
    ).toReversed();
    const activated = emitActivation(b, layer.activation, gate, up);
    const hidden = form.prepare(b, activated, { part: 'hidden', width: layer.intermediate });
    return run(hidden, [{ linears: down!, result: 'results', bias: 'bias' }])[0];
  };
  return { kind: 'pairs', emit };
}

/**
 * The products of an expert, by name. Among many experts gate and up are one product, for an idle one costs almost as much
 * as a small one (see "What was tried" in the benchmarks).
 */
function linearsOf({ gate, up, down }: QuantizedExpert, experts: number): [string, QuantizedLinear][] {
  if (gate && areMany(experts)) return Object.entries({ gate_up: sideBySide(gate, up), down });
  return Object.entries(gate ? { gate, up, down } : { up, down });
}

/** Two linears of one input in one, whose results lie side by side. */
function sideBySide(gate: QuantizedLinear, up: QuantizedLinear): QuantizedLinear {
  const weight = stackRows(gate.weight, up.weight);
  if (!gate.bias && !up.bias) return { weight, bias: null };
  const bias = new Float32Array(weight.rows);
  if (gate.bias) bias.set(gate.bias);
  if (up.bias) bias.set(up.bias, gate.weight.rows);
  return { weight, bias };
}

/** What gate and up give, [S, intermediate] each, from what they give together. */
function halves(b: Builder, results: Value, intermediate: number): Value[] {
  const widths = b.ints([intermediate, intermediate]);
  return b.ops(2, 'Split', [results, widths], { axis: 1 }, { name: 'halves', outputs: ['gate', 'up'] });
}

/** An expert's weight that is in the graph already. */
export interface WrittenWeight {
  /** Of the names of the expert's nodes. */
  prefix: string;
  product: Product;
  otherWay?: OtherWay | null;
}

interface WrittenLinear extends WrittenWeight {
  name: string;
  /** Of each channel, for integer forms; see `QuantizedTensor.steps`. */
  scales: Float32Array;
  bias: Float32Array | null;
  /** Output channels. */
  width: number;
}

function writeLinear(
  b: Builder,
  form: LinearForm,
  { prefix, name }: { prefix: string; name: string },
  { weight, bias }: QuantizedLinear,
): WrittenLinear {
  const written = form.linear(builder(b.graph, prefix), name, weight);
  return { prefix, name, ...written, scales: weight.steps ?? weight.scales, bias, width: weight.rows };
}

/** The tokens' rows for each pair. A weight on the input of an expert joins the scales. */
function pairRows(b: Builder, prepared: Operand, { tokens, inputWeights }: Dispatch): Operand {
  const operand = b.op('Gather', [prepared.operand, tokens], {}, { name: 'pair_operand' });
  const scales = prepared.scales && b.op('Gather', [prepared.scales, tokens], {}, { name: 'pair_scales' });
  if (!inputWeights) return { ...prepared, operand, scales };
  if (!scales) return { ...prepared, operand: b.op('Mul', [operand, inputWeights]), scales };
  return { ...prepared, operand, scales: b.op('Mul', [scales, inputWeights]) };
}

/** One linear of every expert. */
interface LinearBank {
  linears: readonly WrittenLinear[];
  /** Names what they give after scales and biases. */
  result: string;
  /** Names the biases; as offsets they hold what a shift of the input takes away, and are counted with the codes. */
  bias: 'bias' | 'offset';
}

interface Context {
  b: Builder;
  form: LinearForm;
  dispatch: Dispatch;
}

/** Linears of every expert on its rows of one input: what each bank gives, [S, out]. */
function runLinears(context: Context, input: Operand, banks: readonly LinearBank[]): Value[] {
  const { b, form, dispatch } = context;
  const products = expertProducts(
    b,
    input,
    dispatch,
    banks.map((bank) => ({
      products: productsOf(form, bank),
      weights: bank.linears,
    })),
  );
  return banks.map((bank, i) => finishLinears(context, bank, input, products[i]));
}

function productsOf({ integer }: LinearForm, bank: LinearBank): ResultRows {
  const [{ name, width }] = bank.linears;
  return integer
    ? { name: `${name}/sums`, dtype: 'int32', width }
    : { name: scaledName(bank), dtype: 'float32', width };
}

/** Applies scales, unless the form did, and biases, if there are any. */
function finishLinears(
  { b, form, dispatch }: Context,
  bank: LinearBank,
  input: Operand,
  products: Value,
): Value {
  const { linears, result } = bank;
  const [{ name, width }] = linears;
  const table = (vectors: readonly (Float32Array | null)[]): Float32Array => {
    const values = new Float32Array(linears.length * width);
    vectors.forEach((vector, i) => vector && values.set(vector, i * width));
    return values;
  };
  const perPair = (constant: Value, part: string): Value =>
    b.op('Gather', [constant, dispatch.experts], {}, { name: `${name}/pair_${part}` });
  const shape = [linears.length, width];
  let value = products;
  if (form.integer) {
    const scaled = scaleRows(b, value, input.scales!, `${name}/per_token`);
    const channelScales = table(linears.map(({ scales }) => scales));
    const scales = perPair(scaleConstant(b, `${name}/scales`, shape, channelScales), 'scales');
    value = b.op('Mul', [scaled, scales], {}, { name: scaledName(bank) });
  }
  if (!hasBias(bank)) return value;
  const biases = table(linears.map(({ bias }) => bias));
  const constant =
    bank.bias === 'offset'
      ? scaleConstant(b, `${name}/offset`, shape, biases)
      : b.constant(`${name}/bias`, 'float32', shape, biases);
  return b.op('Add', [value, perPair(constant, bank.bias)], {}, { name: result });
}

function scaledName(bank: LinearBank): string {
  return hasBias(bank) ? `${bank.linears[0].name}/scaled` : bank.result;
}

function hasBias({ linears }: LinearBank): boolean {
  return linears.some(({ bias }) => bias);
}

/** int32 sums [n, out] times scales [n, 1], in one pass. */
export function scaleRows(b: Builder, sums: Value, scales: Value, name: string): Value {
  const vector = b.op('Reshape', [scales, b.ints([-1])]);
  return b.op('DequantizeLinear', [sums, vector], { axis: 0 }, { name });
}
