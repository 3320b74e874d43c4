import { unzipSync } from 'fflate';
import { Fault } from '../fault.ts';
import { parseNpy } from './npy.ts';
import type { DataRecord } from './record.ts';
import { rowsOf } from './rows.ts';

/**
 * The records of a NumPy `.npz`: one array per model input, batch first; every row of the batch is a record.
 * @param file names the file in Faults.
 * @throws Fault DATA_NPZ when it is no zip archive, DATA_NPY for an array that is not supported.
 */
export function npzRecords(bytes: Uint8Array, file: string): DataRecord[] {
  const arrays = Object.fromEntries(
    Object.entries(unzip(bytes, file)).map(([entry, content]) => {
      const name = entry.replace(/\.npy$/, '');
      return [name, parseNpy(content, `${file}, array ${name}`)];
    }),
  );
  return rowsOf(arrays, file).map((inputs, row) => ({
    source: `${file}[${row}]`,
    task: null,
    inputs,
    answerStart: null,
  }));
}

function unzip(bytes: Uint8Array, file: string): Record<string, Uint8Array> {
  try {
    return unzipSync(bytes);
  } catch (cause) {
    const what = 'the file is no readable .npz archive';
    throw Fault.because(cause, { code: 'DATA_NPZ', what, where: file, remedy: 'write it with numpy.savez' });
  }
}
