import type { Progress, ProgressEvent } from '../pipeline/progress.ts';

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

const barWidth = 24;

/** One line of at most `width` characters: the stage, a bar and the time left where its end is known, the detail. */
export function progressLine(
  { stage, detail, done, total }: ProgressEvent,
  elapsedMs: number,
  width: number,
): string {
  if (done === undefined || !total) return `${stage.padEnd(10)} ${detail}`.slice(0, width);
  const share = done / total;
  const full = Math.round(barWidth * share);
  const bar = '█'.repeat(full) + '░'.repeat(barWidth - full);
  const percent = `${Math.floor(100 * share)} %`.padStart(5);
  const left = done === 0 ? '' : `, ${clock((elapsedMs / done) * (total - done))} left`;
  const time = done === total ? `, ${clock(elapsedMs)}` : left;
  return `${stage.padEnd(10)} ${bar} ${percent}  ${detail}${time}`.slice(0, width);
}

/** Minutes and seconds, e.g. `1:05`. */
function clock(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
