import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { inFolders } from '../../src/files/output-files.ts';
import { removeTemporaries } from '../../src/files/temporary.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'moeq-folders-'));
  mkdirSync(join(folder, 'there'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

const present = (...names: string[]): string[] => names.filter((name) => existsSync(join(folder, name)));

test('work that fails leaves no folder that was made for it, and those that were there or hold something', async () => {
  const wanted = ['new/a', 'new/b', 'kept/c', 'there/d'].map((name) => join(folder, name));
  const failing = inFolders(wanted, async () => {
    expect(present('new/a', 'new/b', 'kept/c', 'there/d')).toHaveLength(4);
    writeFileSync(join(folder, 'kept/results'), '');
    throw new Error('no');
  });
  await expect(failing).rejects.toThrow('no');
  expect(present('new', 'kept', 'kept/c', 'there', 'there/d')).toEqual(['kept', 'there']);
});

test('a folder that cannot be made takes those before it along', async () => {
  writeFileSync(join(folder, 'file'), '');
  const failing = inFolders([join(folder, 'new/a'), join(folder, 'file/below')], async () => {});
  await expect(failing).rejects.toMatchObject({ code: 'OUTPUT_FAILED' });
  expect(present('new')).toEqual([]);
});

test('work that is done keeps its folders; a process that ends in between does not', async () => {
  await inFolders([join(folder, 'done')], async () => {});
  await inFolders([join(folder, 'half/way')], async () => removeTemporaries());
  removeTemporaries();
  expect(present('done', 'half')).toEqual(['done']);
});
