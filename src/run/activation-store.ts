import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBytes, isNumericType } from '../data/numeric-array.ts';
import { Fault } from '../fault.ts';
import { temporary } from '../files/temporary.ts';
import type { RunTensor } from '../runtime/session.ts';

/** Values between two stages of a model, on disk: one file per value and batch. */
export interface ActivationStore {
  put(name: string, batch: number, tensor: RunTensor): void;
  get(name: string, batch: number): RunTensor;
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
  return {
    put(name, batch, { dtype, dims, data }) {
      const path = join(folder, String(files++));
      writeFileSync(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      if (!values.has(name)) values.set(name, new Map());
      values.get(name)!.set(batch, { path, dtype, dims });
    },
    get(name, batch) {
      const stored = values.get(name)?.get(batch);
      if (!stored || !isNumericType(stored.dtype)) throw notStored(name);
      const { path, dtype, dims } = stored;
      // A Buffer may be part of a larger one and does not copy when sliced.
      const bytes = new Uint8Array(readFileSync(path));
      return { dtype, dims, data: fromBytes(stored.dtype, bytes) };
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
    why: `the value ${name} between two layers is no tensor of numbers`,
    remedy: 'use --set calibration.byLayer=never --set verify.byLayer=never',
  });
}
