import { extname } from 'node:path';
import { Piscina } from 'piscina';

/** Threads for a worker file of this folder, started when there is work and kept until the pool is destroyed. */
export function workerPool(worker: string, threads: number): Piscina {
  return new Piscina({
    // Sources run as .ts, the built package as .js.
    filename: new URL(`./${worker}${extname(import.meta.url)}`, import.meta.url).href,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: Infinity,
    atomics: 'disabled',
  });
}

/** Runs tasks `width` at a time. After a failure none is begun; it is thrown when those under way have ended. */
export async function inLanes<T>(
  tasks: readonly T[],
  width: number,
  run: (task: T) => Promise<void>,
): Promise<void> {
  const queue = tasks.values();
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (const task of queue) {
      if (failures.length > 0) return;
      await run(task).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  if (failures.length > 0) throw failures[0];
}
