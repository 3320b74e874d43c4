import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openGramFile } from '../../src/calibrate/gram-file.ts';
import type { ExpertStats } from '../../src/calibrate/layer-stats.ts';

function channels(width: number, from: number): ExpertStats['input'] {
  const gram = Float32Array.from({ length: width ** 2 }, (_, i) => from + i);
  return { absMax: Float32Array.of(from, from + 1), gram };
}

function statsOf(id: string, first: number): ExpertStats {
  const inputMean = Float32Array.of(first);
  return { id, tokens: 1, mass: 1, inputMean, input: channels(3, first), hidden: channels(2, first + 100) };
}

test('XᵀX that was kept is what it was, in any order and more than once', () => {
  const file = openGramFile();
  const [one, two] = [...file.keep([statsOf('A', 0)]), ...file.keep([statsOf('B', 50)])];
  expect([two, one, two]).toEqual([statsOf('B', 50), statsOf('A', 0), statsOf('B', 50)]);
  expect(structuredClone(one)).toEqual(statsOf('A', 0));
  file.close();
});

test('what is kept leaves memory, and the disk when the file is closed', () => {
  const parent = mkdtempSync(join(tmpdir(), 'moeq-test-'));
  const file = openGramFile(parent);
  const stats = statsOf('A', 0);
  const [kept] = file.keep([stats]);
  expect(stats.input.gram!.length).toBe(0);
  expect(readdirSync(parent).length).toBe(1);
  file.close();
  expect(readdirSync(parent)).toEqual([]);
  expect(() => kept.input.gram).toThrow('ENOENT');
  rmSync(parent, { recursive: true });
});

test('statistics without XᵀX stay as they are', () => {
  const file = openGramFile();
  const stats = statsOf('A', 0);
  const bare = { ...stats, input: { ...stats.input, gram: null }, hidden: { ...stats.hidden, gram: null } };
  expect(file.keep([bare])).toEqual([bare]);
  file.close();
});
