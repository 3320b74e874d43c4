/** What a long run goes through. */
export const stages = [
  'read',
  'calibrate',
  'try',
  'quantize',
  'realign',
  'router',
  'write',
  'parity',
  'verify',
] as const;

/** What a long run is doing; the command line shows it. `detail` is the same for all events of one piece of work. */
export interface ProgressEvent {
  stage: (typeof stages)[number];
  detail: string;
  /** How much of the stage is done, in units of its own; absent where that is not known. */
  done?: number;
  total?: number;
}

export type Progress = (event: ProgressEvent) => void;

/** Tells a stage's progress over records: that it begins, and after each batch how many are done. */
export function recordProgress(
  progress: Progress,
  stage: ProgressEvent['stage'],
  total: number,
): (done: number) => void {
  const tell = (done: number): void => progress({ stage, detail: `${total} records`, done, total });
  tell(0);
  return tell;
}
