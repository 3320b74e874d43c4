import type { RouterLinear } from '../emit/router-linear.ts';
import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import { graft } from '../onnx/graft.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import { keptRows } from './kept-rows.ts';

/** Graph outputs that carry, for one batch, what separates a router in two models that run side by side. */
export interface GapTaps {
  /** X̂ᵀX̂ of what the changed model's router reads, [hidden, hidden]. */
  gram: Value;
  /** X̂ᵀE, E being what the changed logits lack to the original ones, [hidden, experts]. */
  cross: Value;
  /** Sum of the squares of E. */
  energy: Value;
}

/** A router in both models. */
export interface RouterPair {
  original: RouterLinear;
  changed: RouterLinear;
}

/**
 * Joins a model with a changed form of it, so that both run on the same tokens; the outputs are the sums that compare
 * their routers. `original` becomes that graph.
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
    tapGap(builder(graph, `gap/${i}`), router, [copies[2 * i], copies[2 * i + 1]], valid),
  );
  graph.outputs = taps.flatMap(({ gram, cross, energy }) => [gram, cross, energy]);
  graph.removeDeadCode();
  return taps;
}

function tapGap(
  b: Builder,
  { original }: RouterPair,
  [input, product]: readonly [Value, Value],
  valid: Value | null,
): GapTaps {
  const { rows: experts, cols: hidden } = original.view;
  const rowsOf = (value: Value, width: number): Value => {
    const rows = b.op('Cast', [b.op('Reshape', [value, b.ints([-1, width])])], { to: 1 });
    return keptRows(b, rows, valid, width);
  };
  const x = rowsOf(input, hidden);
  const lacking = b.op('Sub', [rowsOf(original.product, experts), rowsOf(product, experts)]);
  return {
    gram: b.op('Gemm', [x, x], { transA: 1 }, { name: 'gram' }),
    cross: b.op('Gemm', [x, lacking], { transA: 1 }, { name: 'cross' }),
    energy: b.op('ReduceSumSquare', [lacking], { keepdims: 0 }, { name: 'energy' }),
  };
}
