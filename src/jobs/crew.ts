import type { ProgressEvent } from '../pipeline/progress.ts';
import type { BatchPlan, JobPlan } from './plan/plan.ts';
import type { MadeJob } from './store/publish-job.ts';

/** Those who do the work of a batch: the threads of a process, or workers behind a queue. */
export interface Crew {
  /** Jobs to be given to it at a time. */
  width: number;
  /** Makes the files of a job in the staging folder. Throws Fault. */
  make(job: JobPlan): Promise<MadeJob>;
  close(): Promise<void>;
}

/** What a crew is told, and tells. */
export interface CrewOptions {
  /** Stops the work after the items under way: the jobs they belong to fail with INTERRUPTED. */
  signal: AbortSignal;
  progress: (event: JobProgress) => void;
  /** Called with what people should know besides. */
  notice: (text: string) => void;
}

/** Gathers those who are to do a batch. */
export type GatherCrew = (plan: BatchPlan, options: CrewOptions) => Crew | Promise<Crew>;

/** What is being done for a job. */
export interface JobProgress extends ProgressEvent {
  job: string;
}
