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
