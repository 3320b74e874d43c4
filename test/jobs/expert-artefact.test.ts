import { globSync, mkdtempSync, statSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { QuantizedExpert, QuantizedLinear } from '../../src/emit/quantized-expert.ts';
import { openStore } from '../../src/jobs/artefact-store.ts';
import { contentKey } from '../../src/jobs/content-key.ts';
import { readExpertArtefact, writeExpert } from '../../src/jobs/expert-artefact.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { faultOf } from '../helpers/fault-of.ts';
import { gaussian } from '../quantize/random.ts';

const key = contentKey('L0.E1');
const linear = (rows: number, cols: number, seed: number): QuantizedLinear => ({
  weight: quantizeRtn(gaussian(rows, cols, seed), { bits: 4, groupSize: 16 }),
  bias: seed === 2 ? Float32Array.of(1, 2) : null,
});
const expert: QuantizedExpert = { gate: linear(32, 48, 1), up: linear(32, 48, 2), down: linear(48, 32, 3) };

test.each([
  ['gated', expert],
  ['ungated', { ...expert, gate: null }],
])('a %s expert comes back as it was', (_, each) => {
  const store = openStore(mkdtempSync(join(tmpdir(), 'moeq-expert-')));
  writeExpert(store, key, each);
  expect(readExpertArtefact(store, key, 'L0.E1')).toEqual(each);
});

test('an expert whose codes are damaged is told, and counts as missing from then on', () => {
  const folder = mkdtempSync(join(tmpdir(), 'moeq-expert-'));
  const store = openStore(folder);
  writeExpert(store, key, expert);
  const files = globSync('*/*', { cwd: folder }).map((path) => join(folder, path));
  const { up } = readExpertArtefact(store, key, 'L0.E1');
  for (const path of files.filter((path) => path.endsWith('.up')))
    truncateSync(path, statSync(path).size - 1);
  expect(faultOf(() => up.weight.codes).code).toBe('ARTEFACT_DAMAGED');
  expect(store.has(key)).toBe(false);
});
