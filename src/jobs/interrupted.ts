import { Fault } from '../fault.ts';

/** The Fault of work that a stopped run leaves undone; `where` names the job. */
export function interrupted(where: string): Fault {
  return new Fault({
    code: 'INTERRUPTED',
    what: 'the run was stopped before this job was finished',
    where,
    remedy: 'run again with --resume: what is finished is kept',
  });
}
