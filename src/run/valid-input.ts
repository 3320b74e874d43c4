import type { Batch } from '../data/batches.ts';
import type { Model } from '../onnx/model.ts';
import type { Value } from '../onnx/value.ts';

/**
 * Adds the graph input [batch, sequence + 1] bool that tells tokens from padding (see `validFlags`); null where no batch is
 * padded.
 */
export function addValidInput({ graph }: Model, batches: readonly Batch[]): Value | null {
  return batches.some(({ valid }) => valid) ? graph.addInput('moeq/valid', 'bool', 2) : null;
}
