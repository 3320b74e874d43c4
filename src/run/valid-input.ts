import type { Batch } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';

/**
 * Adds the graph input [positions] bool that tells tokens from padding (see `validRows`); null where no batch is padded.
 */
export function addValidInput({ graph }: Model, batches: readonly Batch[]): Value | null {
  return batches.some(({ valid }) => valid) ? graph.addInput('moeq/valid', 'bool') : null;
}
