import { createHash } from 'node:crypto';
import type { DataRecord } from '../data/record.ts';
import { fileHash } from '../files/file-hash.ts';
import type { Model } from '../onnx/model.ts';
import { parametersOf, storedBytesOf } from '../onnx/model.ts';
import type { ModelFacts } from '../report/report.ts';
import { bytesOf } from '../tensor/encode.ts';

/** Size and identity of a model; external data counts, the hash is of the model file. */
export async function modelFacts(model: Model): Promise<ModelFacts> {
  return {
    path: model.path,
    bytes: storedBytesOf(model),
    parameters: parametersOf(model),
    sha256: await fileHash(model.path),
  };
}

/** A checksum of what the model is fed and judged by, so that two reports are known to speak of the same data. */
export function hashRecords(records: readonly DataRecord[]): string {
  const hash = createHash('sha256');
  for (const { task, inputs, answerStart } of records) {
    hash.update(JSON.stringify([task, answerStart]));
    for (const [name, { dtype, shape, data }] of Object.entries(inputs)) {
      hash.update(JSON.stringify([name, dtype, shape]));
      hash.update(bytesOf(data));
    }
  }
  return hash.digest('hex');
}
