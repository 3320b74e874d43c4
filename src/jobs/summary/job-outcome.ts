import type { FaultRecord } from '../../fault.ts';
import { evaluateGates } from '../../report/gates/gates.ts';
import type { Limits } from '../../report/gates/limits.ts';
import type { Gate, Report } from '../../report/report.ts';
import { isMissedGate } from '../error-record.ts';
import type { JobPlan, UnplannedJob } from '../plan/plan.ts';

/** A finished file of the output folder. */
export interface OutputFile {
  /** Relative to the output folder. */
  path: string;
  bytes: number;
  sha256: string;
}

/** What became of one job. */
export interface JobOutcome {
  name: string;
  model: string;
  recipe: string;
  /**
   * `gates`: done, but a gate failed; where it is the check of what was written, nothing is kept. `skipped`: not begun,
   * because the run was stopped.
   */
  status: 'done' | 'gates' | 'failed' | 'skipped';
  /** True when an earlier run had finished it. */
  reused: boolean;
  seconds: number;
  files: OutputFile[];
  /** Bytes of the model and of what was written, each the file with its external data. */
  size: { before: number; after: number } | null;
  expertBitsPerWeight: number | null;
  gates: Gate[];
  /** The worst layer's, and the whole model's; null where nothing was measured. */
  figures: { topKAgreement: number; perplexityRatio: number } | null;
  fault: FaultRecord | null;
}

/** The outcome of a job that ended early. */
export function unfinished(
  { name, job: { model, recipe } }: JobPlan | UnplannedJob,
  status: 'gates' | 'failed' | 'skipped',
  fault: FaultRecord | null,
): JobOutcome {
  return {
    name,
    model,
    recipe,
    status,
    reused: false,
    seconds: 0,
    files: [],
    size: null,
    expertBitsPerWeight: null,
    gates: [],
    figures: null,
    fault,
  };
}

/** The outcome of a job that ended in a fault. */
export function faulted(job: JobPlan | UnplannedJob, fault: FaultRecord): JobOutcome {
  return unfinished(job, isMissedGate(fault) ? 'gates' : 'failed', fault);
}

/** What a report has to say to a batch: its gates, the two figures of the summary, and whether all is well. */
export function judge(
  report: Report | null,
  gates: { min: Limits; max: Limits },
): Pick<JobOutcome, 'gates' | 'figures' | 'status'> {
  if (!report) return { gates: [], figures: null, status: 'done' };
  const judged = evaluateGates(report, gates);
  const [topK, perplexity] = evaluateGates(report, {
    min: { topKAgreement: 0 },
    max: { perplexityRatio: 1 },
  });
  return {
    gates: judged,
    figures: { topKAgreement: topK.value, perplexityRatio: perplexity.value },
    status: judged.every(({ ok }) => ok) ? 'done' : 'gates',
  };
}
