import type { Batch } from '../data/batches.ts';
import type { RouterLinear } from '../emit/router-linear.ts';
import { builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import type { Value } from '../onnx/value.ts';
import type { Probe } from '../run/probe.ts';
import type { RunTensor } from '../runtime/session.ts';
import type { GapSums } from './tap-gap.ts';
import { addGap, emptyGap, tapGap } from './tap-gap.ts';

/** What a router made of one batch before its model was changed, [positions, experts] in float32; see `RouterValuePair`. */
export interface OriginalLogits {
  product: RunTensor;
  logits: RunTensor;
}

/** A probe that sums what separates a router from the original one. */
export interface GapProbe extends Probe {
  /** Of the batches taken so far. */
  sums: GapSums;
}

/** Adds to a changed model's graph the sums of {@link tapGap}; what the original router made is fed to it. */
export function gapProbe(
  graph: Graph,
  { linear: { view, input, product }, topK }: { linear: RouterLinear; topK: number | null },
  originalOf: (batch: Batch) => OriginalLogits,
  valid: Value | null,
): GapProbe {
  const original = {
    product: graph.addInput('moeq/product', 'float32', 2),
    logits: graph.addInput('moeq/logits', 'float32', 2),
  };
  const values = { view, topK, original, changed: { input, product } };
  const taps = tapGap(builder(graph, 'moeq/gap'), values, valid);
  const sums = emptyGap(view);
  return {
    sums,
    outputs: Object.values(taps),
    feeds(batch) {
      const { product, logits } = originalOf(batch);
      return { [original.product.name]: product, [original.logits.name]: logits };
    },
    take: (results) => addGap(sums, taps, results),
  };
}
