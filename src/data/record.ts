import type { NumericArray } from './numeric-array.ts';

/** One example: what the model is fed, without the batch dimension, and how it is judged. */
export interface DataRecord {
  /** Where it was read, as `file:line` or `file[row]`; Faults name it. */
  source: string;
  /** The task it belongs to, for metrics per task. */
  task: string | null;
  /** One array per model input; a text is `input_ids` of type int32 and shape [tokens]. */
  inputs: Record<string, NumericArray>;
  /**
   * For a prompt with an answer: position of the first answer token in `input_ids`, at least 1; every token
   * from there on is the answer, and is right when it is the arg-max of the logits one position before it.
   */
  answerStart: number | null;
}

/** The first so many records, or all of them where no limit is set. */
export function firstRecords(records: readonly DataRecord[], limit: number | null): readonly DataRecord[] {
  return limit === null ? records : records.slice(0, limit);
}

/** The task a record counts for: answers without a task make one of their own. */
export function taskOf({ task, answerStart }: DataRecord): string | null {
  return task ?? (answerStart === null ? null : 'all');
}

/** The tasks that records have answers to, each once. */
export function tasksOf(records: readonly DataRecord[]): string[] {
  const judged = records.filter(({ answerStart }) => answerStart !== null);
  return [...new Set(judged.map((record) => taskOf(record)!))];
}

/** The model input that holds token ids. */
export const tokenInput = 'input_ids';
/** Tells by zeros which positions are padding. */
export const maskInput = 'attention_mask';
