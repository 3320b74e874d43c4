import type { Model } from '../onnx/model.ts';
import { countOf } from '../tensor/dtype.ts';
import { uniform } from '../tensor/uniform.ts';
import { declaredInputs } from './model-input.ts';
import type { NumericArray } from './numeric-array.ts';
import type { DataRecord } from './record.ts';
import { tokenInput } from './record.ts';
import type { SampleSize } from './sample-records.ts';
import { vocabularySize } from './vocabulary.ts';

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
  return () => Object.fromEntries(inputs.map(({ name, dims }) => [name, scattered(dims, next)]));
}

/** Numbers of mean 0 and variance 1. */
function scattered(shape: number[], next: () => number): NumericArray {
  const data = Float32Array.from({ length: countOf(shape) }, () => Math.sqrt(3) * (2 * next() - 1));
  return { dtype: 'float32', shape, data };
}
