import { Fault } from '../fault.ts';
import type { Model } from '../onnx/model.ts';
import { valueAt } from './numeric-array.ts';
import type { DataRecord } from './record.ts';
import { tokenInput } from './record.ts';

/**
 * Checks that the model has an embedding for every token: ids are 0 to `size` - 1; null where the size is not known.
 * @throws Fault DATA_VOCABULARY naming the record and the token.
 */
export function checkVocabulary(records: readonly DataRecord[], size: number | null): void {
  if (size === null) return;
  for (const { inputs, source } of records) {
    const ids = inputs[tokenInput];
    if (!ids) continue;
    for (let i = 0; i < ids.data.length; i++) {
      const id = Number(valueAt(ids, i));
      if (id >= 0 && id < size) continue;
      throw new Fault({
        code: 'DATA_VOCABULARY',
        what: `token ${id} at position ${i} is outside the model's vocabulary of ${size}`,
        where: source,
        remedy: 'set tokenizer to the one the model was trained with, or mend the ids that the record gives',
      });
    }
  }
}

/** Rows of the embedding that a model looks its tokens up in; null where there is none to be seen. */
export function vocabularySize({ graph }: Model): number | null {
  const tokens = graph.inputs.find(({ name }) => name === tokenInput);
  const lookUp = tokens?.consumers.find(({ opType, inputs }) => opType === 'Gather' && inputs[1] === tokens);
  let table = lookUp?.inputs[0];
  while (table?.producer?.opType === 'Cast') [table] = table.producer.inputs;
  const shape = table?.tensor?.source.shape;
  return shape?.length === 2 ? shape[0] : null;
}
