import { formatAmount, formatFigure } from '../format.ts';
import type { Gate } from '../report.ts';

/** One gate in words, e.g. `topKAgreement is 0.871 in L2, at least 0.9 is asked for`. */
export function gateText({ name, limit, value, bound, where, why }: Gate): string {
  const place = where ? ` in ${where}` : '';
  const asked = `${bound === 'max' ? 'at most' : 'at least'} ${formatFigure(limit)} is asked for`;
  const note = why ? ` (${why})` : '';
  return `${name} is ${formatFigure(value)}${place}, ${asked}${note}`;
}

/** The verdict on all gates in one short line. */
export function verdictText({ gates }: { gates: readonly Gate[] }): string {
  const failed = gates.filter(({ ok }) => !ok).length;
  if (gates.length === 0) return 'No gate was asked for';
  if (failed > 0) return `${failed} of ${formatAmount(gates.length, 'gate')} failed`;
  return gates.length === 1 ? 'The gate holds' : `All ${gates.length} gates hold`;
}
