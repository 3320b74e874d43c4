import { ffnExperts } from '../moe/ffn-experts.ts';
import type { Expert, Linear, MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { bytesOf } from '../tensor/encode.ts';
import { readMatrix, readVector } from '../tensor/view.ts';
import { emitActivation } from './activation.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { splitByExpert } from './dispatch-tokens.ts';
import type { EmittedPairs } from './emit-layer.ts';
import { emitLayer } from './emit-layer.ts';
import type { PairEmitter } from './expert-emitter.ts';
import { whereAny } from './where-any.ts';

/** Called with each expert's two linear inputs, so that statistics can be attached to them. */
export type ExpertTap = (
  b: Builder,
  expert: Expert,
  linearInputs: { input: Value; hidden: Value },
  /** The expert's tokens: row numbers [n], and what the routing multiplies its outputs (or inputs) by, [n, 1]. */
  routed: { rows: Value; weights: Value },
) => void;

/**
 * Writes a layer out in float: a source form may gather the weights of every token, and cannot be looked into. `isAlone`
 * is for a layer that is run by itself: its graph is planned in no time, and of experts behind a condition ONNX Runtime
 * holds all weights twice, mapped and packed, while it loads them.
 */
export function emitFloat(model: Model, layer: MoeLayer, isAlone = false): EmittedPairs {
  return emitLayer(model, layer, floatExperts(layer, { isAlone }))!;
}

/** The experts in float, as in the source: what calibration runs. */
export function floatExperts(
  layer: MoeLayer,
  { tap, isAlone = false }: { tap?: ExpertTap; isAlone?: boolean } = {},
): PairEmitter {
  const experts = ffnExperts(layer);
  const emit: PairEmitter['emit'] = (b, tokens, dispatch) => {
    const { tokens: pairTokens, inputWeights } = dispatch;
    const gathered = b.op('Gather', [tokens, pairTokens], {}, { name: 'pair_rows' });
    const inputs = inputWeights ? b.op('Mul', [gathered, inputWeights], {}, { name: 'inputs' }) : gathered;
    const written = experts.map((expert) => writeExpert(builder(b.graph, `moeq/${expert.id}`), expert));
    // What a tap attaches is to be seen from outside.
    if (tap || isAlone) return runExperts(b, layer, written, inputs, dispatch, tap);
    const rows = [{ name: 'results', dtype: 'float32', width: layer.hidden } as const];
    const guard = { isAny: dispatch.isAny, experts: experts.length };
    return whereAny(b, guard, rows, (inner) => [runExperts(inner, layer, written, inputs, dispatch)])[0];
  };
  return { kind: 'pairs', emit };
}

/** A linear whose weight is in the graph already, [out, in]. */
interface WrittenLinear {
  name: string;
  weight: Value;
  bias: Value | null;
}

interface WrittenExpert {
  expert: Expert;
  gate: WrittenLinear | null;
  up: WrittenLinear;
  down: WrittenLinear;
}

function writeExpert(b: Builder, expert: Expert): WrittenExpert {
  const { gate, up, down } = expert;
  return {
    expert,
    gate: gate && writeLinear(b, 'gate', gate),
    up: writeLinear(b, 'up', up!),
    down: writeLinear(b, 'down', down!),
  };
}

function writeLinear(b: Builder, name: string, { weight, bias }: Linear): WrittenLinear {
  const { rows, cols } = weight;
  const source = {
    byteLength: rows * cols * 4,
    read: (offset = 0, length = rows * cols * 4 - offset) =>
      bytesOf(readMatrix(weight).data).subarray(offset, offset + length),
  };
  return {
    name,
    weight: b.constant(`${name}/weight`, 'float32', [rows, cols], source),
    bias: bias && b.constant(`${name}/bias`, 'float32', [rows], readVector(bias.view)),
  };
}

/** Each expert on its rows of `inputs` [S, hidden]: results of all, [S, hidden]. */
function runExperts(
  b: Builder,
  { activation }: MoeLayer,
  experts: readonly WrittenExpert[],
  inputs: Value,
  { tokens, counts, weights }: Dispatch,
  tap?: ExpertTap,
): Value {
  const split = (perPair: Value): Value[] => splitByExpert(b, perPair, counts, experts.length);
  const parts = split(inputs);
  const routed = tap && { rows: split(tokens), weights: split(weights) };
  const results = experts.map(({ expert, gate, up, down }, i) => {
    const inner = builder(b.graph, `moeq/${expert.id}`);
    const input = parts[i];
    const gated = gate && runLinear(inner, gate, input);
    const hidden = emitActivation(inner, activation, gated, runLinear(inner, up, input));
    if (routed) tap(inner, expert, { input, hidden }, { rows: routed.rows[i], weights: routed.weights[i] });
    return runLinear(inner, down, hidden);
  });
  return b.op('Concat', results, { axis: 0 }, { name: 'results' });
}

function runLinear(b: Builder, { name, weight, bias }: WrittenLinear, x: Value): Value {
  return b.op('Gemm', bias ? [x, weight, bias] : [x, weight], { transB: 1 }, { name });
}
