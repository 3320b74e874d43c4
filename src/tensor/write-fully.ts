import { writeSync } from 'node:fs';

/** What one call writes at most: operating systems stop at 2 GB. */
const chunk = 1 << 30;

/** Writes all bytes, from `at` on or where the file stands: one call may be cut short, by a disk that is nearly full. */
export function writeFully(file: number, bytes: Uint8Array, at: number | null = null): void {
  for (let done = 0; done < bytes.length;) {
    const length = Math.min(chunk, bytes.length - done);
    done += writeSync(file, bytes, done, length, at === null ? null : at + done);
  }
}
