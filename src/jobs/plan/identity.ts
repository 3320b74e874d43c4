import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { recordFiles } from '../../data/records.ts';
import { fileHash } from '../../files/file-hash.ts';
import type { Model } from '../../onnx/model.ts';

/**
 * Identity of records: the bytes of a file, or of every file of a folder under its name.
 * @throws Fault DATA_NOT_FOUND, DATA_FORMAT
 */
export async function dataIdentity(path: string): Promise<string> {
  const files = recordFiles(path);
  if (files[0] === path) return fileHash(path);
  const hashes = await Promise.all(files.map(fileHash));
  return contentKey(files.map((file, i) => [basename(file), hashes[i]]));
}

const hashedUpTo = 256e6;

/**
 * Identity of a model, wherever it lies: the bytes of its files. Of files beyond 256 MB only size and modification
 * time, as for `make`: to hash hundreds of gigabytes would cost more than much of the work it saves. Copy such
 * models with their times (`cp -p`, `rsync -t`) to resume elsewhere.
 */
export async function modelIdentity(model: Model): Promise<string> {
  const locations = [...model.graph.constants].flatMap(({ tensor }) =>
    (tensor!.proto.externalData ?? []).filter(({ key }) => key === 'location').map(({ value }) => value),
  );
  const folder = dirname(model.path);
  const parts = [...new Set(locations)]
    .toSorted()
    .map(async (name) => [name, await weightIdentity(join(folder, name))]);
  return contentKey([await weightIdentity(model.path), ...(await Promise.all(parts))]);
}

async function weightIdentity(path: string): Promise<unknown> {
  const { size, mtimeMs } = statSync(path);
  return size > hashedUpTo ? [size, mtimeMs] : fileHash(path);
}

/** A key that is equal for equal parts: SHA-256 over JSON with sorted object keys. */
export function contentKey(parts: unknown): string {
  return createHash('sha256').update(JSON.stringify(parts, sortKeys)).digest('hex');
}

function sortKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
