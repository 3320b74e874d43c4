import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeModel } from '../../src/onnx/write-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { checksOf } from '../../src/pipeline/write-experts.ts';
import type { ParityCheck } from '../../src/verify/parity-checks.ts';
import { configFrom, dataFree } from '../helpers/bundled.ts';

/** Quantizes a model in a workshop, and writes it: its path, and what it must compute. */
export async function writtenModel(
  model: string,
  workshop: Workshop,
): Promise<{ written: string; checks: ParityCheck[] }> {
  const config = configFrom('scheme=w4a8', ...dataFree, 'rounding.method=clip');
  const quantized = await quantizeModel(model, null, config, () => {}, workshop);
  const written = join(mkdtempSync(join(tmpdir(), 'moeq-written-')), 'model.onnx');
  writeModel(quantized.model, written);
  return { written, checks: checksOf(quantized) };
}

/** A check that what was written cannot pass. */
export function damaged(check: ParityCheck): ParityCheck {
  const expected = structuredClone(check.expected);
  expected.at(-1)!.rows.at(-1)!.rows.data[0] += 1;
  return { ...check, expected };
}
