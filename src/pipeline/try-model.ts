import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DataRecord } from '../data/record.ts';
import type { Model } from '../onnx/model.ts';
import { writeModel } from '../onnx/write-model.ts';
import type { Report } from '../report/report.ts';
import type { SessionOptions } from '../runtime/session.ts';
import { verify } from '../verify/verify.ts';

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
