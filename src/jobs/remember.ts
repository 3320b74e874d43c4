import type { Workshop } from '../pipeline/workshop.ts';
import type { ArtefactStore } from './artefact-store.ts';
import type { JobPlan } from './plan.ts';

/** Keeps the results of those steps that a plan has items for, and does not do again what is there. */
export function rememberIn(store: ArtefactStore, { items }: JobPlan): Workshop['remember'] {
  const keys = new Map(items.map(({ id, key }) => [id, key]));
  return async function remember<T>(step: string, compute: () => Promise<T>): Promise<T> {
    const key = keys.get(step);
    if (key === undefined) return compute();
    if (!store.has(key)) store.write(key, await compute());
    const known = store.read(key);
    // Damaged: what was stored is gone.
    return known === undefined ? remember(step, compute) : (known as T);
  };
}
