import { join } from 'node:path';
import { loadConfig } from '../../src/config/load-config.ts';
import type { QuantizeConfig } from '../../src/config/schema.ts';
import { parseSet } from '../../src/config/set.ts';
import type { DataRecord } from '../../src/data/record.ts';
import { readRecords } from '../../src/data/records.ts';
import { byteTokenizer } from '../../src/data/tokenizer.ts';
import { root } from './run-cli.ts';

/** The graph forms of the bundled model: one checkpoint, written by different exporters. */
export const forms = ['loop.dyn', 'loop.ts', 'batched.dyn', 'grouped.hf', 'fused.moe'] as const;

export function bundledModel(form: (typeof forms)[number]): string {
  return join(root, `test/fixtures/models/tasks-olmoe/${form}.onnx`);
}

export const calibrationData = join(root, 'calib-data/tasks-calib.jsonl');
export const evaluationData = join(root, 'calib-data/tasks-eval.jsonl');

export function bundledRecords(path: string, count?: number): DataRecord[] {
  return readRecords(path, byteTokenizer).slice(0, count);
}

/** A config from `key=value` settings. */
export function configFrom(...settings: string[]): QuantizeConfig {
  return loadConfig(
    null,
    settings.map((text) => parseSet(text)),
  );
}

/** Settings that need no calibration records. */
export const dataFree = ['smoothing.enabled=false', 'rounding.method=rtn'];
