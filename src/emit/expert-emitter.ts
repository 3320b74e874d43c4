import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import type { Expert } from '../moe/moe-layer.ts';

/** Writes the experts of one layer in one target form. */
export interface ExpertEmitter {
  /**
   * Nodes that run once per layer on all tokens [T, hidden], e.g. to quantize them. Each returned value has one
   * row per token; the rows of an expert's tokens are gathered and passed to `expert`.
   */
  prepare(b: Builder, tokens: Value): Value[];
  /**
   * One expert on its n tokens: from the gathered rows of each prepared value to [n, hidden].
   */
  expert(b: Builder, expert: Expert, rows: readonly Value[], routed: RoutedInput): Value;
}

/** How an expert's tokens came to it. */
export interface RoutedInput {
  /** Their row numbers among all tokens, [n]. */
  rows: Value;
  /** [n, 1], multiplies the expert's input where routing weights do that (Llama-4); null elsewhere. */
  inputWeight: Value | null;
}
