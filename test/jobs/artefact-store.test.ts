import {
  appendFileSync,
  globSync,
  mkdtempSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { writeWhole } from '../../src/files/write-file.ts';
import { contentKey } from '../../src/jobs/plan/identity.ts';
import { openStore } from '../../src/jobs/store/artefact-store.ts';
import { faultOf } from '../helpers/fault-of.ts';

const key = contentKey('a result');
const newFolder = () => mkdtempSync(join(tmpdir(), 'moeq-store-'));

describe('openStore', () => {
  test('gives back what was written, typed arrays and exact numbers included', () => {
    const folder = newFolder();
    const value = {
      codes: Int8Array.of(-7, 0, 7),
      scales: Float32Array.of(1e-38, 0.1, Infinity),
      gram: Float64Array.of(Math.PI, -0, NaN),
      nothing: null,
      byId: new Map([['L0.E1', [1, 2]]]),
    };
    openStore(folder).write(key, value);
    expect(openStore(folder).has(key)).toBe(true);
    expect(openStore(folder).read(key)).toEqual(value);
  });

  test('knows nothing of other keys', () => {
    const store = openStore(newFolder());
    store.write(key, 1);
    expect(store.has(contentKey('another'))).toBe(false);
    expect(store.read(contentKey('another'))).toBeUndefined();
  });

  test.each([
    ['cut short', (path: string) => truncateSync(path, 40)],
    ['empty', (path: string) => truncateSync(path, 0)],
    ['longer', (path: string) => appendFileSync(path, 'x')],
    [
      'with one bit flipped',
      (path: string) => {
        const bytes = readFileSync(path);
        bytes[bytes.length - 3] ^= 1;
        writeFileSync(path, bytes);
      },
    ],
  ])('a file %s counts as missing and is removed', (_how, damage) => {
    const folder = newFolder();
    const store = openStore(folder);
    store.write(
      key,
      Float32Array.from({ length: 100 }, (_, i) => i),
    );
    const [path] = globSync('*/*', { cwd: folder });
    damage(join(folder, path));
    expect(store.read(key)).toBeUndefined();
    expect(store.has(key)).toBe(false);
  });
});

describe('large arrays', () => {
  const large = Float32Array.from({ length: 20_000 }, (_, i) => Math.sin(i));
  const expert = {
    bias: null,
    parts: [{ codes: Int8Array.from(large, (x) => 7 * x), scale: 1 }, { gram: large }],
  };

  test('are kept apart and come back as they were, also from a value that was read', () => {
    const folder = newFolder();
    const store = openStore(folder);
    store.write(key, expert);
    // 20 kB of codes stay where they are.
    expect(globSync('*/*', { cwd: folder })).toHaveLength(2);
    expect(store.read(key)).toEqual(expert);
    const copy = contentKey('a copy');
    store.write(copy, store.read(key));
    expect(store.read(copy)).toEqual(expert);
    store.write(copy, large);
    expect(store.read(copy)).toEqual(large);
  });

  test('that are damaged are told when they are read, and the value counts as missing from then on', () => {
    const folder = newFolder();
    const store = openStore(folder);
    store.write(key, expert);
    const read = store.read(key) as { parts: [unknown, { gram: Float32Array }] };
    const [path] = globSync('*/*.0', { cwd: folder }).map((name) => join(folder, name));
    truncateSync(path, statSync(path).size - 4);
    expect(faultOf(() => read.parts[1].gram).code).toBe('ARTEFACT_DAMAGED');
    expect(store.has(key)).toBe(false);
  });
});

test('a write that fails leaves no file behind', () => {
  const folder = newFolder();
  const parts = [new Uint8Array(10), null as unknown as Uint8Array];
  expect(() => writeWhole(join(folder, 'x'), parts)).toThrow(TypeError);
  expect(globSync('**', { cwd: folder }).filter((path) => path !== '.')).toEqual([]);
});
