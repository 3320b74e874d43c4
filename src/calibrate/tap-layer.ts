import { emitLayer } from '../emit/emit-layer.ts';
import type { ExpertTap } from '../emit/float-experts.ts';
import { floatExperts } from '../emit/float-experts.ts';
import { tokenRows } from '../emit/token-rows.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { keptFlags } from './kept-rows.ts';

/** Graph outputs that carry the statistics of one layer for one batch; E is the number of experts that are looked at. */
export interface LayerTaps {
  /** [1] all tokens. */
  tokens: Value;
  /** [hidden] */
  inputAbsMax: Value;
  /** [router width], summed over tokens. */
  probability: Value;
  /** [E] */
  expertTokens: Value;
  /** [E, 1] */
  expertMass: Value;
  /** [E, hidden] */
  expertInputSum: Value;
  /** [E, hidden] and [E, intermediate] */
  expertInputAbsMax: Value;
  expertHiddenAbsMax: Value;
  /** Of each expert [hidden, hidden] and [intermediate, intermediate], when asked for: too large to be joined. */
  expertInputGram: Value[] | null;
  expertHiddenGram: Value[] | null;
}

export interface TapOptions {
  /** Compute XᵀX as well. */
  gram: boolean;
  affinity: boolean;
  /** See `keptFlags`. */
  valid: Value | null;
  /** Ids of the experts that are looked at. */
  experts: ReadonlySet<string>;
}

/**
 * Rewrites a layer in canonical float form with statistics computed beside it, per expert over its own tokens.
 * Padding is left out of every statistic. With `affinity` each token enters XᵀX, and the mean, with its routing
 * weight (MoEQuant, arXiv 2505.03804: H = Σ c·x·xᵀ), whatever its sign; maxima and counts stay. Where the weight
 * multiplies the input of the experts it is in X already.
 */
export function tapLayer(model: Model, layer: MoeLayer, options: TapOptions): LayerTaps {
  const parts = {
    tokens: [] as Value[],
    mass: [] as Value[],
    inputSum: [] as Value[],
    input: [] as Value[],
    hidden: [] as Value[],
    inputGram: [] as Value[],
    hiddenGram: [] as Value[],
  };
  const { input, routing } = layer.boundary!;
  const b = builder(model.graph, `moeq/${layer.id}/stats`);
  const all = tokenRows(b, input, layer.hidden);
  const kept = options.valid && keptFlags(b, all, options.valid);
  const isWeighed = options.affinity && routing.appliesTo === 'output';
  const tap: ExpertTap = (b, { id }, linearInputs, routed) => {
    if (!options.experts.has(id)) return;
    const keep = kept && b.op('Gather', [kept, routed.rows], {}, { name: 'keep' });
    const x = withZeroRow(b, linearInputs.input, keep, layer.hidden);
    const h = withZeroRow(b, linearInputs.hidden, keep, layer.intermediate);
    parts.tokens.push(rowCount(b, x));
    parts.input.push(absMax(b, x));
    parts.hidden.push(absMax(b, h));
    const weights = isWeighed ? withZeroRow(b, b.op('Abs', [routed.weights]), keep, 1) : null;
    const weighed = (rows: Value): Value => (weights ? b.op('Mul', [rows, weights]) : rows);
    parts.mass.push(weights ? columnSums(b, weights) : asMass(b, parts.tokens.at(-1)!));
    parts.inputSum.push(columnSums(b, weighed(x)));
    if (!options.gram) return;
    parts.inputGram.push(gram(b, weighed(x), x));
    parts.hiddenGram.push(gram(b, weighed(h), h));
  };
  emitLayer(model, layer, floatExperts(layer, { tap }));
  const rows = withZeroRow(b, all, kept, layer.hidden);
  const stack = (name: string, values: Value[]): Value => b.op('Concat', values, { axis: 0 }, { name });
  return {
    tokens: rowCount(b, rows),
    inputAbsMax: absMax(b, rows),
    probability: probability(b, layer, kept),
    expertTokens: stack('tokens', parts.tokens),
    expertMass: stack('mass', parts.mass),
    expertInputSum: stack('input_sum', parts.inputSum),
    expertInputAbsMax: stack('input_absmax', parts.input),
    expertHiddenAbsMax: stack('hidden_absmax', parts.hidden),
    expertInputGram: options.gram ? parts.inputGram : null,
    expertHiddenGram: options.gram ? parts.hiddenGram : null,
  };
}

/**
 * The rows of real tokens, below one row of zeros: ONNX leaves reductions over no rows open, and a zero row changes
 * no maximum of magnitudes and no product sum.
 */
function withZeroRow(b: Builder, x: Value, keep: Value | null, width: number): Value {
  const kept = keep ? b.op('Compress', [x, keep], { axis: 0 }) : x;
  const zeros = b.constant('zeros', 'float32', [1, width], new Float32Array(width));
  return b.op('Concat', [zeros, kept], { axis: 0 }, { name: 'rows' });
}

function rowCount(b: Builder, rows: Value): Value {
  const all = b.op('Shape', [rows], { start: 0, end: 1 });
  return b.op('Sub', [all, b.ints([1])], {}, { name: 'count' });
}

function absMax(b: Builder, rows: Value): Value {
  return b.op('ReduceMax', [b.op('Abs', [rows]), b.ints([0])], { keepdims: 1 }, { name: 'absmax' });
}

/** A count [1] as a sum of weights, [1, 1]. */
function asMass(b: Builder, count: Value): Value {
  return b.cast(b.op('Unsqueeze', [count, b.ints([0])]), 'float32', 'mass');
}

function columnSums(b: Builder, rows: Value): Value {
  return b.op('ReduceSum', [rows, b.ints([0])], { keepdims: 1 }, { name: 'sum' });
}

function gram(b: Builder, weighed: Value, rows: Value): Value {
  return b.op('Gemm', [weighed, rows], { transA: 1 }, { name: 'gram' });
}

function probability(b: Builder, { router }: MoeLayer, keep: Value | null): Value {
  const all = b.op('Softmax', [tokenRows(b, router.logits, router.experts)], { axis: -1 });
  const rows = withZeroRow(b, all, keep, router.experts);
  return b.op('ReduceSum', [rows, b.ints([0])], { keepdims: 0 }, { name: 'probability' });
}
