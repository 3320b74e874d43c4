import { realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { Fault } from '../fault.ts';
import type { ByteSource } from '../tensor/source.ts';
import { fileSource } from '../tensor/source.ts';
import type { TensorProto } from './messages.ts';

/**
 * The bytes of a tensor that lives in a file beside the model.
 * A location may not leave the model's folder, not by `..`, an absolute path or a symbolic link.
 * @throws Fault EXTERNAL_DATA
 */
export function externalRange(proto: TensorProto, expectedBytes: number, modelPath: string): ByteSource {
  const where = `${modelPath}, tensor ${proto.name ?? ''}`;
  const entries = entriesOf(proto, where);
  const path = containedPath(entries.get('location') ?? '', dirname(resolve(modelPath)), where);
  const offset = byteCount(entries.get('offset') ?? '0', where);
  const length = byteCount(entries.get('length') ?? String(expectedBytes), where);
  const size = fileSize(path, where);
  if (offset + length > size) {
    throw refused(where, `bytes ${offset} to ${offset + length} lie outside ${path} (${size} bytes)`);
  }
  return fileSource(path, offset, length);
}

/** A key given twice would mean one place to one reader and another to the next. */
function entriesOf({ externalData = [] }: TensorProto, where: string): Map<string, string> {
  const entries = new Map(externalData.map(({ key, value }) => [key, value]));
  if (entries.size < externalData.length) throw refused(where, 'a key occurs twice');
  return entries;
}

/** Decimal digits only: other spellings (signs, hexadecimal, blanks) are read differently by different readers. */
function byteCount(text: string, where: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count)) throw refused(where, `"${text}" is no byte count`);
  return count;
}

function containedPath(location: string, folder: string, where: string): string {
  if (location === '' || location.includes('\0')) throw refused(where, 'it names no file');
  const path = resolve(folder, location);
  if (isAbsolute(location) || leaves(folder, path))
    throw refused(where, `${location} lies outside the model's folder`);
  let real: string;
  try {
    real = realpathSync(path);
  } catch (cause) {
    throw new Fault(
      {
        code: 'EXTERNAL_DATA',
        what: `the external data file ${location} is missing`,
        where,
        remedy: 'put it beside the model file, under the name the model gives',
      },
      { cause },
    );
  }
  if (leaves(realpathSync(folder), real))
    throw refused(where, `${location} is a link that leaves the model's folder`);
  return real;
}

function leaves(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way === '..' || way.startsWith(`..${sep}`) || isAbsolute(way);
}

function fileSize(path: string, where: string): number {
  const stat = statSync(path);
  if (!stat.isFile()) throw refused(where, `${path} is not a regular file`);
  return stat.size;
}

function refused(where: string, why: string): Fault {
  return new Fault({
    code: 'EXTERNAL_DATA',
    what: 'the external data of a tensor is refused',
    where,
    why,
    remedy: 'export the model again, or move its data into one folder',
  });
}
