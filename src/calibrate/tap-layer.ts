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
  const b = builder(model.graph, `moeq/${layer.id}/stats`);
  const all = tokenRows(b, layer.boundary!.input, layer.hidden);
  const kept = options.valid && keptFlags(b, all, options.valid);
  const isWeighed = options.affinity && layer.boundary!.routing.appliesTo === 'output';
  const seen: ExpertTaps[] = [];
  const tap: ExpertTap = (inner, { id }, { input, hidden }, { rows, weights }) => {
    if (!options.experts.has(id)) return;
    const routed = { input, hidden, rows, weights: isWeighed ? weights : null };
    seen.push(tapExpert(inner, layer, routed, kept, options.gram));
  };
  emitLayer(model, layer, floatExperts(layer, { tap }));
  const rows = withZeroRow(b, all, kept, layer.hidden);
  const stack = (name: string, part: (taps: ExpertTaps) => Value): Value =>
    b.op('Concat', seen.map(part), { axis: 0 }, { name });
  return {
    tokens: rowCount(b, rows),
    inputAbsMax: absMax(b, rows),
    probability: probability(b, layer, kept),
    expertTokens: stack('tokens', ({ tokens }) => tokens),
    expertMass: stack('mass', ({ mass }) => mass),
    expertInputSum: stack('input_sum', ({ inputSum }) => inputSum),
    expertInputAbsMax: stack('input_absmax', ({ inputAbsMax }) => inputAbsMax),
    expertHiddenAbsMax: stack('hidden_absmax', ({ hiddenAbsMax }) => hiddenAbsMax),
    expertInputGram: options.gram ? seen.map(({ grams }) => grams!.input) : null,
    expertHiddenGram: options.gram ? seen.map(({ grams }) => grams!.hidden) : null,
  };
}

/** The statistics of one expert; see `LayerTaps`. */
interface ExpertTaps {
  tokens: Value;
  mass: Value;
  inputSum: Value;
  inputAbsMax: Value;
  hiddenAbsMax: Value;
  grams: { input: Value; hidden: Value } | null;
}

/** The tokens of an expert: what its linears read of them, and which rows of the layer they are. */
interface RoutedTokens {
  input: Value;
  hidden: Value;
  rows: Value;
  /** What the routing gives them, [n, 1]; null where they count alike. */
  weights: Value | null;
}

function tapExpert(
  b: Builder,
  { hidden, intermediate }: MoeLayer,
  routed: RoutedTokens,
  kept: Value | null,
  withGrams: boolean,
): ExpertTaps {
  const keep = kept && b.op('Gather', [kept, routed.rows], {}, { name: 'keep' });
  const x = withZeroRow(b, routed.input, keep, hidden);
  const h = withZeroRow(b, routed.hidden, keep, intermediate);
  const [tokens, inputAbsMax, hiddenAbsMax] = [rowCount(b, x), absMax(b, x), absMax(b, h)];
  const weights = routed.weights && withZeroRow(b, b.op('Abs', [routed.weights]), keep, 1);
  const weighed = (rows: Value): Value => (weights ? b.op('Mul', [rows, weights]) : rows);
  return {
    tokens,
    mass: weights ? columnSums(b, weights) : asMass(b, tokens),
    inputSum: columnSums(b, weighed(x)),
    inputAbsMax,
    hiddenAbsMax,
    grams: withGrams ? { input: gram(b, weighed(x), x), hidden: gram(b, weighed(h), h) } : null,
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
