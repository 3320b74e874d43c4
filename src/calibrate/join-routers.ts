import type { RouterLinear } from '../emit/router-linear.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { tokenRows } from './token-rows.ts';

/** A router in two models. */
export interface RouterPair {
  original: RouterLinear;
  /** The original's logits with their bias, [..., experts]. */
  logits: Value;
  /** Experts per token; null where every token visits all. */
  topK: number | null;
  changed: RouterLinear;
}

/** Graph outputs of one batch: what separates a router in two models that run side by side, summed over tokens. */
export interface GapTaps {
  /** Σ w·x̂·x̂ᵀ of what the changed model's router reads, [hidden, hidden]. */
  gram: Value;
  /** Σ w·x̂·eᵀ, e being what the changed logits lack to the original ones, [hidden, experts]. */
  cross: Value;
}

/**
 * Joins a model with a changed form of it, so that both run on the same tokens, with the sums that compare their routers
 * as outputs. `original` becomes that graph.
 */
export function joinRouters(
  original: Model,
  changed: Model,
  routers: readonly RouterPair[],
  valid: Value | null,
): GapTaps[] {
  const { graph } = original;
  const inputs = new Map(graph.inputs.map((input) => [input.name, input]));
  const bindings = new Map(changed.graph.inputs.map((input) => [input, inputs.get(input.name)!]));
  const wanted = routers.flatMap((router) => [router.changed.input, router.changed.product]);
  const copies = graft(graph, wanted, bindings, 'changed/');
  const taps = routers.map((router, i) =>
    tapGap(builder(graph, `gap/${i}`), router, { input: copies[2 * i], product: copies[2 * i + 1] }, valid),
  );
  graph.outputs = taps.flatMap(({ gram, cross }) => [gram, cross]);
  graph.removeDeadCode();
  return taps;
}

function tapGap(
  b: Builder,
  { original, logits, topK }: RouterPair,
  changed: Pick<RouterLinear, 'input' | 'product'>,
  valid: Value | null,
): GapTaps {
  const { rows: experts, cols: hidden } = original.view;
  const rowsOf = (value: Value, width: number): Value => tokenRows(b, value, width, valid);
  const x = rowsOf(changed.input, hidden);
  const lacking = b.op('Sub', [rowsOf(original.product, experts), rowsOf(changed.product, experts)]);
  const isChosen = topK !== null && topK < experts;
  const weights = isChosen ? tippingWeights(b, rowsOf(logits, experts), topK, lacking) : null;
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
