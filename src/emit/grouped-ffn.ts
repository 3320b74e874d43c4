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
import type { LinearForm, LinearInput, Operand } from './linear-form.ts';
import type { WrittenLinear } from './run-linears.ts';
import { runLinears } from './run-linears.ts';
import { shiftRows } from './shift-rows.ts';
import { areMany } from './where-any.ts';

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
    const context = { b, form, dispatch };
    const banks = Object.groupBy(written, ({ name }) => name);
    const bias = isShifted ? 'offset' : 'bias';
    const [gate, up] = gateAndUp(b, layer, banks, (...first) =>
      runLinears(
        context,
        input,
        first.map((linears) => ({ linears, result: linears[0].name, bias })),
      ),
    );
    const activated = emitActivation(b, layer.activation, gate, up!);
    const hidden = form.prepare(b, activated, { part: 'hidden', width: layer.intermediate });
    return runLinears(context, hidden, [{ linears: banks['down']!, result: 'results', bias: 'bias' }])[0];
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

/** What gate and up give, [S, intermediate] each; null for the gate of experts that have none. */
function gateAndUp(
  b: Builder,
  { intermediate }: MoeLayer,
  { gate, up, gate_up: both }: Partial<Record<string, WrittenLinear[]>>,
  run: (...banks: WrittenLinear[][]) => Value[],
): readonly (Value | null)[] {
  if (!both) return gate ? run(gate, up!) : [null, ...run(up!)];
  const widths = b.ints([intermediate, intermediate]);
  const options = { name: 'halves', outputs: ['gate', 'up'] };
  return b.ops(2, 'Split', [run(both)[0], widths], { axis: 1 }, options);
}

function writeLinear(
  b: Builder,
  form: LinearForm,
  { prefix, name }: { prefix: string; name: string },
  { weight, bias }: QuantizedLinear,
): WrittenLinear {
  const written = form.linear(builder(b.graph, prefix), name, weight);
  const scales = form.integer ? (weight.steps ?? weight.scales) : null;
  return { prefix, name, ...written, scales, bias, width: weight.rows };
}

/** The tokens' rows for each pair. A weight on the input of an expert joins the scales. */
function pairRows(b: Builder, prepared: Operand, { tokens, inputWeights }: Dispatch): Operand {
  const operand = b.op('Gather', [prepared.operand, tokens], {}, { name: 'pair_operand' });
  const scales = prepared.scales && b.op('Gather', [prepared.scales, tokens], {}, { name: 'pair_scales' });
  if (!inputWeights) return { ...prepared, operand, scales };
  if (!scales) return { ...prepared, operand: b.op('Mul', [operand, inputWeights]), scales };
  return { ...prepared, operand, scales: b.op('Mul', [scales, inputWeights]) };
}
