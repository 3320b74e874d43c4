import type { NumericArray } from './numeric-array.ts';
import type { DataRecord } from './record.ts';

/** How much is taken. */
export interface SampleSize {
  records: number;
  /** Of each record, at most. */
  tokens: number;
}

/** The first records, cut to so many tokens where they hold nothing but values per token. */
export function sampleRecords(records: readonly DataRecord[], size: SampleSize): DataRecord[] {
  return records.slice(0, size.records).map((record) => cut(record, size.tokens));
}

/**
 * Records two and two, of one length where they hold nothing but values per token, so that each pair makes a batch without
 * padding: what goes to the tokens of another record does not show in one alone. A last one goes with itself.
 */
export function inPairs(records: readonly DataRecord[]): DataRecord[][] {
  const firsts = [...records.keys()].filter((index) => index % 2 === 0);
  return firsts.map((index) => {
    const pair = [records[index], records[index + 1] ?? records[index]];
    const lengths = pair.flatMap(({ inputs }) => Object.values(inputs).map(({ shape }) => shape[0]));
    return pair.map((record) => cut(record, Math.min(...lengths)));
  });
}

/** The first tokens of a record that holds nothing but values per token, any other record as it is. */
function cut(record: DataRecord, tokens: number): DataRecord {
  const { inputs } = record;
  if (!Object.values(inputs).every(({ shape }) => shape.length === 1)) return record;
  const first = Object.entries(inputs).map(([name, array]) => [name, firstOf(array, tokens)]);
  return { ...record, inputs: Object.fromEntries(first) as DataRecord['inputs'] };
}

function firstOf({ dtype, data }: NumericArray, count: number): NumericArray {
  const first = data.slice(0, count);
  return { dtype, shape: [first.length], data: first };
}
