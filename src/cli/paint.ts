import { styleText } from 'node:util';
import type { Paint, Tone } from '../report/terminal-table.ts';

const styles: Record<Tone, Parameters<typeof styleText>[0]> = {
  good: 'green',
  bad: 'red',
  dim: 'dim',
  strong: 'bold',
};

/** Colours where they mean something; styleText leaves them out without a terminal and with NO_COLOR. */
export const paint: Paint = (tone, text) => styleText(styles[tone], text, { stream: process.stdout });
