import { closeSync, mkdtempSync, openSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { temporary } from '../files/temporary.ts';
import { writeFully } from '../files/write-file.ts';
import { bytesOf } from '../tensor/encode.ts';
import { fileSource } from '../tensor/source.ts';
import type { ChannelStats, ExpertStats } from './layer-stats.ts';

/** XᵀX of the experts of a layer, on disk until one of them is quantized. */
export interface GramFile {
  /** The same statistics, whose XᵀX is read each time it is asked for. */
  keep(experts: readonly ExpertStats[]): ExpertStats[];
  /** Removes it: what was kept cannot be read any more. */
  close(): void;
}

/** A file in a temporary folder of its own. */
export function openGramFile(parent = tmpdir()): GramFile {
  const folder = mkdtempSync(join(parent, 'moeq-gram-'));
  const path = join(folder, 'gram');
  let end = 0;

  function move(file: number, { absMax, gram }: ChannelStats): ChannelStats {
    if (!gram) return { absMax, gram };
    const source = fileSource(path, end, gram.byteLength);
    writeFully(file, bytesOf(gram), end);
    end += gram.byteLength;
    // Not left to the garbage collector, which takes its time.
    (gram.buffer as ArrayBuffer).transfer(0);
    return {
      absMax,
      get gram() {
        return new Float32Array(source.read().buffer as ArrayBuffer);
      },
    };
  }

  return {
    keep(experts) {
      const file = openSync(path, end === 0 ? 'w' : 'r+');
      try {
        return experts.map((expert) => ({
          ...expert,
          input: move(file, expert.input),
          hidden: move(file, expert.hidden),
        }));
      } finally {
        closeSync(file);
      }
    },
    close: temporary(folder),
  };
}
