import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { DataRecord } from '../../src/data/record.ts';
import { readRecords } from '../../src/data/records.ts';
import { openTokenizer } from '../../src/data/tokenizer.ts';
import { Fault } from '../../src/fault.ts';
import { fileHash } from '../../src/files/file-hash.ts';
import { contentKey } from '../../src/jobs/plan/identity.ts';
import type { Row } from './plan.ts';

/** A model and the records it is tried with. */
export interface Subject {
  name: string;
  model: string;
  /** Equal for equal bytes of model and records. */
  identity: string;
  data: Record<Row['records'], { calibration: DataRecord[]; evaluation: DataRecord[] }>;
}

/** The graph form that is taken where a folder holds several of one model. */
const graphForm = 'batched.dyn.onnx';

/**
 * The model files that arguments name: a file itself, a folder of one model, or a folder of such folders.
 * @throws Fault ABLATION_MODEL
 */
export function findModels(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (path.endsWith('.onnx') && existsSync(path)) return [path];
    const folders = existsSync(path) ? [path, ...readdirSync(path).map((name) => join(path, name))] : [];
    const models = folders.map((folder) => join(folder, graphForm)).filter((file) => existsSync(file));
    if (models.length === 0) throw noModel(path);
    return models;
  });
}

/**
 * A model with `calib.jsonl` and `eval.jsonl` beside it. _given_: calibrated on the one, measured on the other. _skewed_:
 * the evaluation records are split, every second one to calibrate on, one task after another, so that the first are of
 * few tasks.
 */
export async function openSubject(model: string): Promise<Subject> {
  const folder = dirname(model);
  const files = [model, join(folder, 'calib.jsonl'), join(folder, 'eval.jsonl')];
  const tokenizer = openTokenizer(null, model);
  const [calibration, evaluation] = files.slice(1).map((file) => readRecords(file, tokenizer));
  const pool = evaluation.filter((_, i) => i % 2 === 0);
  return {
    name: basename(folder),
    model,
    identity: contentKey(await Promise.all(files.map(fileHash))),
    data: {
      given: { calibration, evaluation },
      skewed: {
        calibration: pool.toSorted((a, b) => (a.task ?? '').localeCompare(b.task ?? '')),
        evaluation: evaluation.filter((_, i) => i % 2 === 1),
      },
    },
  };
}

function noModel(path: string): Fault {
  return new Fault({
    code: 'ABLATION_MODEL',
    what: 'there is no model to try',
    where: path,
    remedy: `give an .onnx file, a folder with ${graphForm}, or a folder of such folders`,
  });
}
