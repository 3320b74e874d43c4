import type { Model } from '../onnx/model.ts';
import { countOf } from '../tensor/dtype.ts';
import { uniform } from '../tensor/uniform.ts';
import { declaredInputs } from './model-input.ts';
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

/**
 * Records of tokens from all over the vocabulary, or of numbers around zero for a model that takes numbers alone; the same
 * at every call, none for any other model.
 */
export function madeUpRecords(model: Model, size: SampleSize): DataRecord[] {
  const inputsOf = tokensOf(model, size) ?? numbersOf(model, size);
  if (!inputsOf) return [];
  return Array.from({ length: size.records }, (_, at) => ({
    source: `made-up record ${at}`,
    task: null,
    inputs: inputsOf(at),
    answerStart: null,
  }));
}

/** What a record holds, by its number. */
type InputsOf = (at: number) => DataRecord['inputs'];

function tokensOf(model: Model, { tokens }: SampleSize): InputsOf | null {
  const vocabulary = vocabularySize(model);
  if (vocabulary === null) return null;
  // A multiple of the golden section, modulo 1, is spread evenly.
  const token = (index: number): number => Math.floor(((index * 0.618033988749895) % 1) * vocabulary);
  return (at) => {
    const data = Int32Array.from({ length: tokens }, (_, i) => token(at * tokens + i + 1));
    return { [tokenInput]: { dtype: 'int32', shape: [tokens], data } };
  };
}

function numbersOf(model: Model, { tokens }: SampleSize): InputsOf | null {
  const inputs = declaredInputs(model).map(({ name, dtype, shape }) => {
    const [first, ...rest] = shape.slice(1);
    const dims = [typeof first === 'number' ? first : tokens, ...rest];
    return dtype.startsWith('float') && shape.length > 1 && dims.every((dim) => typeof dim === 'number')
      ? { name, dims }
      : null;
  });
  if (!inputs.every((input) => input !== null)) return null;
  const next = uniform();
  return () => Object.fromEntries(inputs.map(({ name, dims }) => [name, evenly(dims, next)]));
}

/** Numbers of mean 0 and variance 1. */
function evenly(shape: number[], next: () => number): NumericArray {
  const data = Float32Array.from({ length: countOf(shape) }, () => Math.sqrt(3) * (2 * next() - 1));
  return { dtype: 'float32', shape, data };
}
