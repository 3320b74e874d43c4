import type { Model } from '../onnx/model.ts';
import type { NumericArray } from './numeric-array.ts';
import type { DataRecord } from './record.ts';
import { tokenInput } from './record.ts';
import { vocabularySize } from './vocabulary.ts';

/** How much is taken. */
export interface SampleSize {
  records: number;
  /** Of each record, at most. */
  tokens: number;
}

/** The first records, cut to so many tokens where they hold nothing but values per token. */
export function sampleRecords(records: readonly DataRecord[], size: SampleSize): DataRecord[] {
  return records.slice(0, size.records).map((record) => {
    const { inputs } = record;
    if (!Object.values(inputs).every(({ shape }) => shape.length === 1)) return record;
    const cut = Object.entries(inputs).map(([name, array]) => [name, firstOf(array, size.tokens)]);
    return { ...record, inputs: Object.fromEntries(cut) as DataRecord['inputs'] };
  });
}

function firstOf({ dtype, data }: NumericArray, count: number): NumericArray {
  const first = data.slice(0, count);
  return { dtype, shape: [first.length], data: first };
}

/** Records of tokens from all over the vocabulary, the same at every call; none for a model that takes no tokens. */
export function madeUpRecords(model: Model, { records, tokens }: SampleSize): DataRecord[] {
  const vocabulary = vocabularySize(model);
  if (vocabulary === null) return [];
  return Array.from({ length: records }, (_, at) => ({
    source: `made-up record ${at}`,
    task: null,
    inputs: {
      [tokenInput]: {
        dtype: 'int32',
        shape: [tokens],
        // A multiple of the golden section, modulo 1, is spread evenly.
        data: Int32Array.from({ length: tokens }, (_token, i) => {
          return Math.floor((((at * tokens + i + 1) * 0.618033988749895) % 1) * vocabulary);
        }),
      },
    },
    answerStart: null,
  }));
}
