import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import { withReference } from '../../src/emit/parity-references.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { expertShelves } from '../../src/jobs/store/expert-shelf.ts';
import { expertWeights } from '../../src/moe/ffn-experts.ts';
import { quantizeByRtn } from '../emit/expert-twin.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';

const parent = mkdtempSync(join(tmpdir(), 'moeq-shelf-'));
const folder = join(parent, 'experts');
afterAll(() => rmSync(parent, { recursive: true }));

const { layer } = syntheticLayer({ hidden: 256, intermediate: 256, experts: 3 });
const resolved = resolveTarget({ scheme: 'w4a4', target: 'int' });
const made = layer.experts.map((expert) =>
  withReference(expert.id, { layer, resolved, rotation: noRotation }, quantizeByRtn(expert, resolved)),
);

test.each([
  ['in memory while their codes fit', expertWeights(layer), false],
  ['on the disk where they do not', expertWeights(layer) - 1, true],
])('experts wait %s', (_name, most, isStored) => {
  const shelf = expertShelves(folder, most)(layer);
  layer.experts.forEach(({ id }, i) => shelf.put(id, made[i]));
  expect(existsSync(folder)).toBe(isStored);
  for (const [i, expert] of layer.experts.entries()) expect(shelf.expertOf(expert)).toEqual(made[i]);
});

test('a shelf makes room for the next one', () => {
  const shelve = expertShelves(folder, 0);
  const files = (): string[] => readdirSync(folder, { recursive: true }).map(String);
  shelve(layer).put('L0.E0', made[0]);
  const before = files();
  shelve(layer).put('L1.E0', made[0]);
  expect(files().filter((name) => before.includes(name) && name.includes('E0'))).toEqual([]);
  expect(files()).toHaveLength(before.length);
});

test('an expert that is gone from the disk is told', () => {
  const shelf = expertShelves(folder, 0)(layer);
  shelf.put('L0.E1', made[1]);
  rmSync(folder, { recursive: true });
  expect(() => shelf.expertOf(layer.experts[1])).toThrow('L0.E1');
});
