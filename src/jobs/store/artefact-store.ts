import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { deserialize, serialize } from 'node:v8';
import { Fault } from '../../fault.ts';
import { writeWhole } from '../../files/write-file.ts';
import { bytesOf } from '../../tensor/encode.ts';

/** Results on disk by content key. Whatever is there is whole: files appear by renaming and carry a checksum. */
export interface ArtefactStore {
  has(key: string): boolean;
  /**
   * The value, or undefined where there is none or the file is damaged, which is then removed. Its large arrays are
   * read each time they are asked for, so that a layer of many experts can be written with one of them in memory;
   * that throws Fault ARTEFACT_DAMAGED where they cannot be.
   */
  read(key: string): unknown;
  /** Keeps plain data. Arrays of more than 64 KB go to files of their own, and the rest, last, says that all is there. */
  write(key: string, value: unknown): void;
}

/** A store in a folder that several processes and machines may share. */
export function openStore(folder: string): ArtefactStore {
  const pathOf = (key: string): string => join(folder, key.slice(0, 2), key.slice(2));
  const readPart = (key: string, { file, kind }: Apart): LargeArray => {
    const bytes = readChecked(pathOf(`${key}.${file}`));
    if (bytes)
      return new arrays[kind](bytes.buffer, bytes.byteOffset, bytes.length / arrays[kind].BYTES_PER_ELEMENT);
    rmSync(pathOf(key), { force: true });
    throw damaged(pathOf(key));
  };
  return {
    has: (key) => statSync(pathOf(key), { throwIfNoEntry: false }) !== undefined,
    read(key) {
      const bytes = readChecked(pathOf(key));
      return bytes && attach(deserialize(bytes), (part) => readPart(key, part));
    },
    write(key, value) {
      let files = 0;
      const rest = detach(value, (array, kind) => {
        const file = files++;
        writeChecked(pathOf(`${key}.${file}`), bytesOf(array));
        return { [mark]: { file, kind } };
      });
      writeChecked(pathOf(key), serialize(rest));
    },
  };
}

const apartFrom = 1 << 16;
const arrays = { Int8Array, Uint8Array, Float32Array, Float64Array };
type Kind = keyof typeof arrays;
type LargeArray = InstanceType<(typeof arrays)[Kind]>;

/** Where an array of a value is kept. */
interface Apart {
  file: number;
  kind: Kind;
}
const mark = 'moeq:apart';

/** A copy of plain data with its large arrays replaced. */
function detach(value: unknown, put: (array: LargeArray, kind: Kind) => unknown): unknown {
  if (ArrayBuffer.isView(value)) {
    const kind = value.constructor.name;
    return value.byteLength >= apartFrom && kind in arrays ? put(value as LargeArray, kind as Kind) : value;
  }
  if (Array.isArray(value)) return value.map((each) => detach(each, put));
  if (!isRecord(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, detach(each, put)]));
}

/** The inverse, in place. */
function attach(value: unknown, get: (part: Apart) => LargeArray): unknown {
  if (!isRecord(value) && !Array.isArray(value)) return value;
  if (mark in value) return get(value[mark] as Apart);
  for (const [name, each] of Object.entries(value)) {
    if (isRecord(each) && mark in each)
      Object.defineProperty(value, name, { enumerable: true, get: () => get(each[mark] as Apart) });
    else attach(each, get);
  }
  return value;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

const checksumBytes = 32;

function writeChecked(path: string, payload: Uint8Array): void {
  writeWhole(path, [checksum(payload), payload]);
}

/** The bytes behind the checksum; undefined where there is no file, or a damaged one, which is removed. */
function readChecked(path: string): Uint8Array<ArrayBuffer> | undefined {
  const bytes = readIfThere(path);
  if (!bytes) return undefined;
  const payload = bytes.subarray(checksumBytes);
  if (checksum(payload).equals(bytes.subarray(0, checksumBytes))) return payload;
  rmSync(path, { force: true });
  return undefined;
}

/** What one call of the operating system or of OpenSSL takes ends at 2 GB. */
const chunk = 1 << 30;

function checksum(bytes: Uint8Array): Buffer {
  const hash = createHash('sha256');
  for (let at = 0; at < bytes.length; at += chunk) hash.update(bytes.subarray(at, at + chunk));
  return hash.digest();
}

function readIfThere(path: string): Uint8Array<ArrayBuffer> | undefined {
  const file = openIfThere(path);
  if (file === undefined) return undefined;
  try {
    const bytes = new Uint8Array(fstatSync(file).size);
    for (let done = 0; done < bytes.length;) {
      const count = readSync(file, bytes, done, Math.min(chunk, bytes.length - done), done);
      if (count === 0) break;
      done += count;
    }
    return bytes;
  } finally {
    closeSync(file);
  }
}

function openIfThere(path: string): number | undefined {
  try {
    return openSync(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The Fault of a result that cannot be read; `where` names it or its file. */
export function damaged(where: string): Fault {
  return new Fault({
    code: 'ARTEFACT_DAMAGED',
    what: 'a stored result is damaged',
    where,
    why: 'its checksum does not hold, or a part of it is gone',
    remedy: 'run again with --resume: what is missing is made anew',
  });
}
