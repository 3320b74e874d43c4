import type { Batch } from '../data/batches.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';
import type { Feeds, RunTensor } from '../runtime/session.ts';

export type Results = Record<string, RunTensor>;

/** Added graph outputs of one layer, and what takes them in after each batch. */
export interface LayerProbe {
  outputs: readonly Value[];
  /** What graph inputs that it added are fed beside a batch. */
  feeds?(batch: Batch): Feeds;
  take(results: Results, batch: Batch): void;
}

/** Adds to a model what is to be seen of one layer. `valid` [positions] tells tokens from padding; null: all are tokens. */
export type AttachProbe = (model: Model, layer: MoeLayer, index: number, valid: Value | null) => LayerProbe;
