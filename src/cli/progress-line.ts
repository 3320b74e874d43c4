import type { ProgressEvent } from '../pipeline/progress.ts';

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
