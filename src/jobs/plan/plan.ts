import type { BatchJob } from '../../config/batch-jobs.ts';
import type { FaultRecord } from '../../fault.ts';
import { type Variant, variantName } from '../../pipeline/layer/variant.ts';

/**
 * One piece of work of a conversion. Items are data: what a `--dry-run` shows, what threads are handed, and what
 * resuming compares.
 */
export interface WorkItem {
  /** Unique within its job: `calibrate`, `quantize:L0.E3`, `variants`, `realign`, `router`, `emit`, `verify`. */
  id: string;
  kind: 'calibrate' | 'quantize' | 'variants' | 'realign' | 'router' | 'emit' | 'verify';
  /** What is quantized, and how; null for other kinds. */
  expert: { layer: string; id: string; variant: Variant } | null;
  /** Ids of the items whose results it reads. */
  needs: string[];
  /** Files and constants it reads besides. */
  inputs: string[];
  /** The files it makes; its artefact in the work folder has `key` for a name. */
  outputs: string[];
  /** Equal for equal work: made of the model, the recipe, the records, the tool's version and the keys it needs. */
  key: string;
  /** Bytes it reads from the model. */
  bytes: number;
  /** Peak memory in bytes, estimated. */
  memory: number;
  /** Processor time, estimated. */
  seconds: number;
}

/** Id of the item that quantizes an expert. Where variants are to be tried, there is one item for each. */
export function quantizeItemId(expert: string, variant: Variant): string {
  const name = variantName(variant);
  return name === 'none' ? `quantize:${expert}` : `quantize:${expert}:${name}`;
}

/** A conversion of a batch with its work. */
export interface JobPlan {
  name: string;
  job: BatchJob;
  /** Of the last item: two jobs with one key have the same result. */
  key: string;
  /** Folder that its files go to. */
  folder: string;
  hasReport: boolean;
  layers: number;
  experts: number;
  /** Bytes of the model's files, and of the result, estimated. */
  size: { before: number; after: number };
  memory: number;
  seconds: number;
  items: WorkItem[];
}

/** A job that cannot be planned, and so not be done. */
export interface UnplannedJob {
  name: string;
  job: BatchJob;
  fault: FaultRecord;
}

/** Everything a run would do. */
export interface BatchPlan {
  output: string;
  /** Folder of artefacts and locks. */
  work: string;
  concurrency: number;
  threads: number;
  /** Bytes that jobs at a time may need together. */
  memory: number;
  stopOnFailure: boolean;
  jobs: (JobPlan | UnplannedJob)[];
}
