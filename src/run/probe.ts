import type { Batch } from '../data/batches.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Feeds, Results } from '../runtime/session.ts';

/** Outputs that are added to a graph, and what takes them in after each batch. */
export interface Probe {
  outputs: readonly Value[];
  /** What graph inputs that it added are fed beside a batch. */
  feeds?(batch: Batch): Feeds;
  take(results: Results, batch: Batch): void;
}

/** Adds to a model what is to be seen of one layer. For `valid` see `addValidInput`; null: all are tokens. */
export type AttachProbe = (model: Model, layer: MoeLayer, index: number, valid: Value | null) => Probe;

/** What the inputs that probes added are fed beside a batch. */
export function feedsOf(probes: readonly Probe[], batch: Batch): Feeds {
  return Object.assign({}, ...probes.map((probe) => probe.feeds?.(batch)));
}

/**
 * Adds the graph input [batch, sequence + 1] bool that tells tokens from padding (see `validFlags`); null where no batch is
 * padded.
 */
export function addValidInput({ graph }: Model, batches: readonly Batch[]): Value | null {
  return batches.some(({ valid }) => valid) ? graph.addInput('moeq/valid', 'bool', 2) : null;
}
