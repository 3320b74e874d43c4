import type { Progress, ProgressEvent } from '../pipeline/progress.ts';
import { progressLine } from './progress-line.ts';

/** What progress is written to: standard error, so that standard output stays clean. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

const redrawAfterMs = 100;
const oneUpAndClear = '\u001B[1A\u001B[2K';

/**
 * Shows progress: a bar that is redrawn on a terminal, one plain line for each piece of work elsewhere. The line is
 * always ended, so that whatever is printed next stands below it.
 */
export function progressDisplay(
  stream: ProgressStream = process.stderr,
  now: () => number = () => performance.now(),
): Progress {
  const isTerminal = Boolean(stream.isTTY) && process.env['TERM'] !== 'dumb';
  const isNewStage = changes<ProgressEvent>(({ stage }) => stage);
  const isNewWork = plainLines();
  let stageBegan = 0;
  let drawn = -Infinity;
  return (event) => {
    const isNew = isNewStage(event);
    if (isNew) stageBegan = now();
    if (!isTerminal) {
      if (isNewWork(event)) stream.write(`${event.stage.padEnd(10)} ${event.detail}\n`);
      return;
    }
    if (!isNew && now() - drawn < redrawAfterMs && event.done !== event.total) return;
    drawn = now();
    const line = progressLine(event, now() - stageBegan, (stream.columns || 80) - 1);
    stream.write(`${isNew || event.total === undefined ? '' : oneUpAndClear}${line}\n`);
  };
}

/** True for the first event of each piece of work: what is worth a line of its own. */
export function plainLines(): (event: ProgressEvent) => boolean {
  return changes(({ stage, detail }) => `${stage} ${detail}`);
}

function changes<T>(keyOf: (item: T) => string): (item: T) => boolean {
  let last: string | null = null;
  return (item) => {
    const key = keyOf(item);
    const isNew = key !== last;
    last = key;
    return isNew;
  };
}
