import { closeSync, openSync, readSync } from 'node:fs';
import { Fault } from '../fault.ts';
import type { DataType } from './dtype.ts';
import { byteLengthOf, countOf } from './dtype.ts';
import { takeBuffer } from './spare-buffers.ts';

/** A range of bytes that is read on demand. Nothing else in the project moves weights. */
export interface ByteSource {
  readonly byteLength: number;
  /** True when every read gives new bytes that are the caller's own; otherwise they may be a view: do not write to it. */
  readonly fresh?: boolean;
  /** Where in a file the bytes stand; null for bytes that are in memory or made from others. */
  readonly place?: FilePlace | null;
  /** Reads `length` bytes from `offset`; the whole range by default. */
  read(offset?: number, length?: number): Uint8Array;
}

/** Where a range of bytes begins. */
interface FilePlace {
  path: string;
  offset: number;
}

/** A tensor whose bytes, in ONNX raw (little-endian, packed) form, are read on demand. */
export interface TensorSource extends ByteSource {
  readonly dtype: DataType;
  readonly shape: readonly number[];
}

export function memorySource(bytes: Uint8Array): ByteSource {
  return {
    byteLength: bytes.byteLength,
    read: (offset = 0, length = bytes.byteLength - offset) => bytes.subarray(offset, offset + length),
  };
}

/** What one call reads at most: it takes no 2 GB. */
const chunk = 1 << 30;

/** Bytes `start … start + byteLength` of a file. The file is opened for each read, so that no handle is held. */
export function fileSource(path: string, start: number, byteLength: number): ByteSource {
  return {
    byteLength,
    fresh: true,
    place: { path, offset: start },
    read(offset = 0, length = byteLength - offset) {
      const bytes = new Uint8Array(takeBuffer(length));
      const handle = openSync(path, 'r');
      try {
        for (let done = 0; done < length;) {
          const count = readSync(handle, bytes, done, Math.min(chunk, length - done), start + offset + done);
          if (count === 0)
            throw new Fault({
              code: 'FILE_SHORT',
              what: 'the file ended while reading a tensor',
              where: path,
              remedy: 'copy or export the file again, and let nothing write to it meanwhile',
            });
          done += count;
        }
      } finally {
        closeSync(handle);
      }
      return bytes;
    },
  };
}

/** The part `start … start + byteLength` of another source. */
export function sliceSource(source: ByteSource, start: number, byteLength: number): ByteSource {
  return {
    byteLength,
    fresh: source.fresh ?? false,
    place: source.place ? { path: source.place.path, offset: source.place.offset + start } : null,
    read: (offset = 0, length = byteLength - offset) => source.read(start + offset, length),
  };
}

/**
 * Gives bytes an element type and a shape.
 * @throws Fault TENSOR_SIZE when the byte count does not fit the shape.
 */
export function tensorSource(
  dtype: DataType,
  shape: readonly number[],
  bytes: ByteSource | Uint8Array,
  name = '',
): TensorSource {
  const source = bytes instanceof Uint8Array ? memorySource(bytes) : bytes;
  const expected = byteLengthOf(dtype, countOf(shape));
  if (source.byteLength !== expected) {
    throw new Fault({
      code: 'TENSOR_SIZE',
      what: `a ${dtype} tensor of shape [${shape.join(', ')}] needs ${expected} bytes and has ${source.byteLength}`,
      where: name && `tensor ${name}`,
      remedy: 'the file is damaged or was cut short: export or download it again',
    });
  }
  return {
    dtype,
    shape,
    byteLength: source.byteLength,
    fresh: source.fresh ?? false,
    place: source.place ?? null,
    read: (offset, length) => source.read(offset, length),
  };
}
