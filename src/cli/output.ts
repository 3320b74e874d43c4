import { styleText } from 'node:util';
import type { Paint, Tone } from '../report/terminal-table.ts';

/** Writes text to standard output, with a line break at its end. */
export function print(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** The one JSON document of `--json`. */
export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2));
}

let last = '';

/** A line on standard error; what was said just before is not repeated. */
export function showNotice(text: string): void {
  if (text !== last) process.stderr.write(`${text}\n`);
  last = text;
}

const styles: Record<Tone, Parameters<typeof styleText>[0]> = {
  good: 'green',
  bad: 'red',
  dim: 'dim',
  strong: 'bold',
};

/** Colours where they mean something; styleText leaves them out without a terminal and with NO_COLOR. */
export const paint: Paint = (tone, text) => styleText(styles[tone], text, { stream: process.stdout });
