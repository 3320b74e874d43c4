import { rmSync } from 'node:fs';

const present = new Set<string>();

/**
 * Remembers a temporary file or folder until the function it returns removes it, so that it goes however the process
 * ends.
 */
export function temporary(path: string): () => void {
  present.add(path);
  return () => {
    rmSync(path, { recursive: true, force: true });
    present.delete(path);
  };
}

/** Removes what is temporary and still there; for a process that is about to end. */
export function removeTemporaries(): void {
  for (const path of present) rmSync(path, { recursive: true, force: true });
}
