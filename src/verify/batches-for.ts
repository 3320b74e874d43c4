import type { Batch } from '../data/batches.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import { checkVocabulary } from '../data/vocabulary.ts';
import { vocabularySize } from '../data/vocabulary-size.ts';
import type { Model } from '../onnx/model.ts';
import { positionsFor } from './positions-for.ts';

/**
 * Batches of records for a model whose outputs are to be compared, of as many positions as its logits allow.
 * @throws Fault for tokens that are not of its vocabulary
 */
export function batchesFor(model: Model, records: readonly DataRecord[]): Iterable<Batch> {
  const classes = vocabularySize(model);
  checkVocabulary(records, classes);
  return makeBatches(records, declaredInputs(model), positionsFor(classes ?? 0));
}
