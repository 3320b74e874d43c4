import type { Workshop } from '../../pipeline/workshop.ts';
import type { JobPlan } from '../plan/plan.ts';
import type { ArtefactStore } from './artefact-store.ts';
import { damaged } from './artefact-store.ts';

/**
 * Keeps the results of those steps that a plan has items for, and does not do again what is there and not damaged.
 * What it computes throws ARTEFACT_DAMAGED where it cannot be kept.
 */
export function rememberIn(store: ArtefactStore, { items }: JobPlan): Workshop['remember'] {
  const keys = new Map(items.map(({ id, key }) => [id, key]));
  return async function remember<T>(step: string, compute: () => Promise<T>): Promise<T> {
    const key = keys.get(step);
    if (key === undefined) return compute();
    const kept = store.read(key);
    if (kept !== undefined) return kept as T;
    store.write(key, await compute());
    const known = store.read(key);
    if (known === undefined) throw damaged(step);
    return known as T;
  };
}
