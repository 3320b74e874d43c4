import type { Batch } from '../data/batches.ts';
import { makeBatches, mostPositions } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import type { DataRecord } from '../data/record.ts';
import { checkVocabulary, vocabularySize } from '../data/vocabulary.ts';
import type { Model } from '../onnx/model.ts';

/**
 * Batches of records for a model whose outputs are to be compared, of as many positions as its logits allow.
 * @throws Fault for tokens that are not of its vocabulary
 */
export function batchesFor(model: Model, records: readonly DataRecord[]): Iterable<Batch> {
  const classes = vocabularySize(model);
  checkVocabulary(records, classes);
  return makeBatches(records, declaredInputs(model), positionsFor(classes ?? 0));
}

/** Numbers in one output of a batch, 128 MB: a joined graph holds several such outputs at a time. */
const outputSize = 2 ** 25;

/** Positions of a batch for a model with so many classes, whose logits may take more room than all else. */
export function positionsFor(classes: number): number {
  return Math.max(1, Math.min(mostPositions, Math.floor(outputSize / Math.max(1, classes))));
}
