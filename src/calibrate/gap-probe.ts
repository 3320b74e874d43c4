import type { Batch } from '../data/batches.ts';
import type { RouterLinear } from '../emit/linears/router-linear.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import type { RunTensor } from '../runtime/session.ts';
import { toFloats } from '../runtime/session.ts';
import { keptRows } from './kept-rows.ts';

/**
 * What a router made of one batch before its model was changed, [positions, experts] in float32: the product with its
 * weight, and the logits with their bias.
 */
export interface OriginalLogits {
  product: RunTensor;
  logits: RunTensor;
}

/** What separates a router in two models, summed over tokens, row-major. */
export interface GapSums {
  /** Σ w·x̂·x̂ᵀ of what the changed model's router reads, [hidden, hidden]. */
  gram: Float64Array;
  /** Σ w·x̂·eᵀ, e being what the changed logits lack to the original ones, [hidden, experts]. */
  cross: Float64Array;
}

/** A probe that sums what separates a router from the original one. */
export interface GapProbe extends Probe {
  /** Of the batches taken so far. */
  sums: GapSums;
}

/** A router of the changed model, and its experts per token; null where every token visits all. */
interface Router {
  linear: RouterLinear;
  topK: number | null;
}

/** Adds these sums to a changed model's graph; what the original router made is fed to it. For `valid` see `keptFlags`. */
export function gapProbe(
  graph: Graph,
  router: Router,
  originalOf: (batch: Batch) => OriginalLogits,
  valid: Value | null,
): GapProbe {
  const { rows: experts, cols: hidden } = router.linear.view;
  const original = {
    product: graph.addInput('moeq/product', 'float32', 2),
    logits: graph.addInput('moeq/logits', 'float32', 2),
  };
  const taps = tapGap(builder(graph, 'moeq/gap'), router, original, valid);
  const sums = { gram: new Float64Array(hidden * hidden), cross: new Float64Array(hidden * experts) };
  return {
    sums,
    outputs: Object.values(taps),
    feeds(batch) {
      const { product, logits } = originalOf(batch);
      return { [original.product.name]: product, [original.logits.name]: logits };
    },
    take(results) {
      for (const key of ['gram', 'cross'] as const)
        toFloats(results[taps[key].name]).forEach((value, i) => (sums[key][i] += value));
    },
  };
}

/** Graph outputs of one batch. */
function tapGap(
  b: Builder,
  { linear: { view, input, product }, topK }: Router,
  original: { product: Value; logits: Value },
  valid: Value | null,
): Record<keyof GapSums, Value> {
  const { rows: experts, cols: hidden } = view;
  const rowsOf = (value: Value, width: number): Value => keptRows(b, value, width, valid);
  const x = rowsOf(input, hidden);
  const lacking = b.op('Sub', [rowsOf(original.product, experts), rowsOf(product, experts)]);
  const isChosen = topK !== null && topK < experts;
  const weights = isChosen ? tippingWeights(b, rowsOf(original.logits, experts), topK, lacking) : null;
  const weighed = weights ? b.op('Mul', [x, weights]) : x;
  return {
    gram: b.op('Gemm', [weighed, x], { transA: 1 }, { name: 'gram' }),
    cross: b.op('Gemm', [weighed, lacking], { transA: 1 }, { name: 'cross' }),
  };
}

/** Keeps a division by the mean square of errors that are all zero from giving NaN. */
const tiny = 1e-30;

/**
 * Weights [T, 1] of tokens by how easily their choice tips over: 1 / (1 + m²/4σ²) with m the margin between the last
 * chosen and the first rejected logit and σ the root mean square of the logit errors of the batch. An error on a token
 * whose choice is beyond doubt changes nothing.
 */
function tippingWeights(b: Builder, logits: Value, k: number, lacking: Value): Value {
  const scalar = (name: string, value: number): Value => b.constant(name, 'float32', [], [value]);
  const [best] = b.ops(2, 'TopK', [logits, b.ints([k + 1])], { axis: -1 });
  const [chosen, rejected] = [k - 1, k].map((at) => b.op('Gather', [best, b.ints([at])], { axis: 1 }));
  const margin = b.op('Sub', [chosen, rejected]);
  const meanSquare = b.op('ReduceMean', [b.op('Mul', [lacking, lacking])], { keepdims: 0 });
  const scale = b.op('Max', [b.op('Mul', [meanSquare, scalar('four', 4)]), scalar('tiny', tiny)]);
  const doubts = b.op('Div', [b.op('Mul', [margin, margin]), scale]);
  return b.op('Reciprocal', [b.op('Add', [doubts, scalar('one', 1)])], {}, { name: 'weights' });
}
