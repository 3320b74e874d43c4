import { formatChange, formatFigure } from '../format.ts';
import type { Movement } from './movements.ts';

/** A table row: verdict, metric, place, before, after, change, and the interval the change lies in where it is known. */
export function movementCells({
  verdict,
  metric,
  where,
  baseline,
  current,
  change,
  interval,
}: Movement): string[] {
  return [
    verdict,
    metric,
    where,
    formatFigure(baseline),
    formatFigure(current),
    formatChange(change),
    interval ? `${formatChange(interval[0])} to ${formatChange(interval[1])}` : '',
  ];
}
