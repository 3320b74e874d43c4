import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NumericType } from '../data/numeric-array.ts';
import { fromBytes, isNumericType } from '../data/numeric-array.ts';
import { Fault } from '../fault.ts';
import { temporary } from '../files/temporary.ts';
import type { RunTensor } from '../runtime/session.ts';
import { bytesOf } from '../tensor/encode.ts';

/** Values between two stages of a model, on disk: one file per value and batch. */
export interface ActivationStore {
  put(name: string, batch: number, tensor: RunTensor): void;
  get(name: string, batch: number): RunTensor;
  /** Element type and number of dimensions, the same in all batches. Throws what `get` does. */
  typeOf(name: string): { dtype: NumericType; rank: number };
  /** Forgets a value of all batches. */
  drop(name: string): void;
  /** Removes everything. */
  close(): void;
}

interface Stored {
  path: string;
  dtype: RunTensor['dtype'];
  dims: readonly number[];
}

/** A store in a temporary folder of its own. */
export function openActivationStore(parent = tmpdir()): ActivationStore {
  const folder = mkdtempSync(join(parent, 'moeq-activations-'));
  const values = new Map<string, Map<number, Stored>>();
  let files = 0;

  function find(name: string, batch: number): Stored & { dtype: NumericType } {
    const stored = values.get(name)?.get(batch);
    if (!stored || !isNumericType(stored.dtype)) throw notStored(name);
    return { ...stored, dtype: stored.dtype };
  }

  return {
    put(name, batch, { dtype, dims, data }) {
      const path = join(folder, String(files++));
      writeFileSync(path, bytesOf(data));
      if (!values.has(name)) values.set(name, new Map());
      values.get(name)!.set(batch, { path, dtype, dims });
    },
    get(name, batch) {
      const { path, dtype, dims } = find(name, batch);
      return { dtype, dims, data: fromBytes(dtype, readFileSync(path)) };
    },
    typeOf(name) {
      const { dtype, dims } = find(name, 0);
      return { dtype, rank: dims.length };
    },
    drop(name) {
      for (const { path } of values.get(name)?.values() ?? []) rmSync(path);
      values.delete(name);
    },
    close: temporary(folder),
  };
}

function notStored(name: string): Fault {
  return new Fault({
    code: 'CALIBRATION_STAGE',
    what: 'the model cannot be run layer by layer',
    where: `value ${name}`,
    why: 'this value between two layers is no tensor of numbers',
    remedy: 'use --set calibration.byLayer=never --set verify.byLayer=never',
  });
}
