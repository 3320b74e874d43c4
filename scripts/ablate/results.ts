import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { contentKey } from '../../src/jobs/plan/identity.ts';
import type { Figures } from './measure.ts';
import type { Row } from './plan.ts';
import type { Subject } from './subject.ts';

/** Equal where model, records and settings are; the number of threads changes nothing. */
export function keyOf({ identity }: Pick<Subject, 'identity'>, { config, records }: Row): string {
  return contentKey({ identity, records, config: { ...config, threads: 'auto' } });
}

/** Results that were kept, by key. */
export function readResults(file: string): Map<string, Figures> {
  if (!existsSync(file)) return new Map();
  const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
  return new Map(lines.map((line) => JSON.parse(line) as Result).map(({ key, figures }) => [key, figures]));
}

/** One line of the file; the names are for readers. */
export interface Result {
  key: string;
  model: string;
  scheme: string;
  row: string;
  seconds: number;
  figures: Figures;
}

export function keepResult(file: string, result: Result): void {
  mkdirSync(dirname(file), { recursive: true });
  appendFileSync(file, `${JSON.stringify(result)}\n`);
}
