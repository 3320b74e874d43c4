import { Fault } from '../../fault.ts';
import { planJob } from '../plan/plan-job.ts';
import type { JobPlan } from '../plan/plan.ts';

/**
 * A check that this machine sees the model and records that a plan was made of, done once for each stored plan. One that
 * failed is done anew: the files may have been put right.
 * @returns a function of the plan and its key in the store, which throws Fault QUEUE_INPUTS, and those of planning
 */
export function inputsCheck(): (key: string, plan: JobPlan) => Promise<void> {
  const checked = new Map<string, Promise<void>>();
  return async (key, plan) => {
    const check = checked.get(key) ?? requireSameInputs(plan);
    checked.set(key, check);
    await check.catch((fault: unknown) => {
      checked.delete(key);
      throw fault;
    });
  };
}

async function requireSameInputs({ job, folder, key }: JobPlan): Promise<void> {
  if ((await planJob(job, folder)).key === key) return;
  throw new Fault({
    code: 'QUEUE_INPUTS',
    what: 'model or records are not the same here as where the run was started',
    where: job.model,
    remedy: 'share them under the same paths, with their modification times, on every machine',
  });
}
