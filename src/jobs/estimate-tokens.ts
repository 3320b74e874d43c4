import { statSync } from 'node:fs';
import { extname } from 'node:path';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { Model } from '../onnx/model.ts';
import { dataFiles } from './file-identity.ts';

/** Between a byte and a token each, and text of four to a token among the punctuation of JSON. */
const bytesOfText = 2;
/** Of a record, where only the first so many records are used. */
const tokensPerRecord = 128;

/** Tokens of records, from the sizes of their files alone: planning reads no records. */
export function estimateTokens(path: string, model: Model, limit: number | null): number {
  const tokens = dataFiles(path).map(
    (file) => statSync(file).size / (extname(file) === '.npz' ? bytesOfArrays(model) : bytesOfText),
  );
  const all = tokens.reduce((sum, count) => sum + count, 0);
  return limit === null ? all : Math.min(all, limit * tokensPerRecord);
}

const bytesPerNumber: Record<string, number> = { float16: 2, float32: 4, int32: 4 };

/** A token's share of arrays [batch, sequence, …], one for each input of the model. */
function bytesOfArrays(model: Model): number {
  const widths = declaredInputs(model).map(({ dtype, shape }) => {
    const inner = shape.slice(2).filter((dim) => typeof dim === 'number');
    return inner.reduce((product, dim) => product * dim, bytesPerNumber[dtype] ?? 8);
  });
  return widths.reduce((sum, width) => sum + width, 0);
}
