import { join } from 'node:path';
import { Fault } from '../../fault.ts';
import { contentKey } from '../plan/identity.ts';
import type { JobPlan } from '../plan/plan.ts';
import type { ArtefactStore } from './artefact-store.ts';
import { openStore } from './artefact-store.ts';

/** Where things are in a work folder. */
export function artefactsIn(work: string): string {
  return join(work, 'artefacts');
}

/** Folder in which jobs make their files, each in a folder of its own. */
export function stagingIn(work: string): string {
  return join(work, 'staging');
}

/** Puts a plan where threads and other machines find it. */
export function storePlan(work: string, plan: JobPlan): string {
  const key = contentKey(plan);
  const store = openStore(artefactsIn(work));
  if (store.read(key) === undefined) store.write(key, plan);
  return key;
}

let last: { key: string; plan: JobPlan } | null = null;

/**
 * A stored plan, and the store that its items read and write.
 * @throws Fault PLAN_NOT_FOUND
 */
export function openWork(work: string, key: string): { store: ArtefactStore; plan: JobPlan } {
  const store = openStore(artefactsIn(work));
  if (last?.key !== key) {
    const plan = store.read(key) as JobPlan | undefined;
    if (!plan) throw missing(work);
    last = { key, plan };
  }
  return { store, plan: last.plan };
}

function missing(work: string): Fault {
  return new Fault({
    code: 'PLAN_NOT_FOUND',
    what: 'the plan of the run is not in its work folder',
    where: work,
    why: 'the folder is not shared with this machine, or the run has ended',
    remedy: 'mount the output folder of the run under the same path on every machine',
  });
}
