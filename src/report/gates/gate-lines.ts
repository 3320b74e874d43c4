import type { Gate } from '../report.ts';
import type { Paint } from '../terminal-table.ts';
import { hangingText } from '../wrap-text.ts';
import { gateText, verdictText } from './gate-text.ts';

/** Gates for the terminal, in lines of at most `width` characters: the verdict first, then each by itself. */
export function gateLines(gates: readonly Gate[], width: number, paint: Paint): string[] {
  const verdict = paint(gates.some(({ ok }) => !ok) ? 'bad' : 'strong', verdictText({ gates }));
  const single = gates.flatMap((gate) => {
    const lines = hangingText(gate.ok ? '  ok      ' : '  FAILED  ', gateText(gate), width);
    return gate.ok ? lines : lines.map((line) => paint('bad', line));
  });
  return [verdict, ...single];
}
