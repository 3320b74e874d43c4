import { closeSync, openSync } from 'node:fs';
import { writeFully } from '../../files/write-file.ts';
import { makeTensor } from '../../onnx/tensor.ts';
import type { Value } from '../../onnx/value.ts';
import type { Workshop } from '../../pipeline/workshop.ts';
import { fileSource } from '../../tensor/source.ts';

const settledFrom = 4096;

/** Moves new weights from memory to the end of a file, each once, when more than `keep` bytes of them are there. */
export function weightSpool(path: string, keep = 0): Workshop['settle'] {
  const seen = new WeakSet<Value>();
  let kept = 0;
  let end = 0;

  function move(file: number, value: Value): void {
    const { source } = value.tensor!;
    writeFully(file, source.read(), end);
    const bytes = fileSource(path, end, source.byteLength);
    value.tensor = makeTensor(value.name, source.dtype, source.shape, bytes);
    end += source.byteLength;
  }

  return (constants) => {
    const added = constants.filter(
      (value) => !seen.has(value) && value.tensor!.source.byteLength >= settledFrom,
    );
    const bytes = added.reduce((sum, { tensor }) => sum + tensor!.source.byteLength, 0);
    for (const value of added) seen.add(value);
    kept += bytes;
    if (kept <= keep) return;
    const file = openSync(path, end === 0 ? 'w' : 'r+');
    try {
      for (const value of added) move(file, value);
    } finally {
      closeSync(file);
    }
  };
}
