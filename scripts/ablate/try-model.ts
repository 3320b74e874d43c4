import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataRecord } from '../../src/data/record.ts';
import type { Model } from '../../src/onnx/model.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import type { Report } from '../../src/report/report.ts';
import type { SessionOptions } from '../../src/runtime/session.ts';
import { verify } from '../../src/verify/verify.ts';

/** Verifies a model that is not written yet, from a file that is gone again afterwards. */
export async function tryModel(
  path: string,
  model: Model,
  records: readonly DataRecord[],
  session: SessionOptions,
): Promise<Report> {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-try-'));
  try {
    const output = join(folder, 'model.onnx');
    writeModel(model, output);
    return await verify(path, output, records, { ...session, attribution: false });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
