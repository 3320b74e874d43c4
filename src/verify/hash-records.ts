import { createHash } from 'node:crypto';
import type { DataRecord } from '../data/record.ts';

/** A checksum of what the model is fed and judged by, so that two reports are known to speak of the same data. */
export function hashRecords(records: readonly DataRecord[]): string {
  const hash = createHash('sha256');
  for (const { task, inputs, answerStart } of records) {
    hash.update(JSON.stringify([task, answerStart]));
    for (const [name, { dtype, shape, data }] of Object.entries(inputs)) {
      hash.update(JSON.stringify([name, dtype, shape]));
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  }
  return hash.digest('hex');
}
