import { availableParallelism } from 'node:os';

/** Threads that a setting asks for: no more than there are cores, beyond which they only wait for each other. */
export function threadsOf(setting: number | 'auto'): number {
  const cores = availableParallelism();
  return setting === 'auto' ? cores : Math.min(setting, cores);
}
