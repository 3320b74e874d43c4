import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import type { Figures } from '../../../scripts/ablate/measure.ts';
import type { Row } from '../../../scripts/ablate/plan.ts';
import { keepResult, keyOf, readResults } from '../../../scripts/ablate/results.ts';
import { configFrom } from '../../helpers/bundled.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-results-'));
afterAll(() => rmSync(folder, { recursive: true }));

function figures(kl: number): Figures {
  return { match: null, ratio: 1, kl, agreement: 1, belowFloor: null };
}

function key(setting: string, identity = 'm', records: Row['records'] = 'given', name = 'r'): string {
  return keyOf({ identity }, { name, config: configFrom(setting), records });
}

test('results are kept, the last of a key stands', () => {
  const file = join(folder, 'new', 'results.jsonl');
  expect(readResults(file).size).toBe(0);
  const result = { model: 'm', scheme: 'w4a4', row: 'r', seconds: 1 };
  keepResult(file, { ...result, key: 'a', figures: figures(0.1) });
  keepResult(file, { ...result, key: 'b', figures: figures(0.2) });
  keepResult(file, { ...result, key: 'a', figures: figures(0.3) });
  expect([...readResults(file)]).toEqual([
    ['a', figures(0.3)],
    ['b', figures(0.2)],
  ]);
});

test('a key tells models, records and settings apart, not names and threads', () => {
  expect(key('threads=1')).toBe(key('threads=2', 'm', 'given', 'another'));
  const others = [key('group=16'), key('threads=1', 'other'), key('threads=1', 'm', 'skewed')];
  expect(new Set([key('threads=1'), ...others]).size).toBe(4);
});
