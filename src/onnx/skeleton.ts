import { Fault } from '../fault.ts';
import { bytesOf } from '../tensor/encode.ts';
import type { ByteSource } from '../tensor/source.ts';
import { privateFields } from './schema.ts';
import { varint } from './varint.ts';

/**
 * Reads a model file without its weights. The result is the same protobuf message in which every large data
 * field of a TensorProto is replaced by the private fields `payloadField` (its number), `payloadOffset` and
 * `payloadLength` (its place in the file). Memory therefore follows the size of the graph, not of the weights.
 * @throws Fault ONNX_TRUNCATED or ONNX_MALFORMED
 */
export function readSkeleton(file: ByteSource, path: string): Uint8Array {
  const reader = new WindowReader(file, path);
  return concat(copyMessage(reader, file.byteLength, 'model', 0));
}

/** Payloads up to this size stay in the skeleton: they are constants a graph reader looks at. */
const inlineLimit = 1024;
const maxDepth = 200;

type Kind = 'model' | 'function' | 'graph' | 'node' | 'attribute' | 'sparse' | 'tensor';

/** Which fields of a message lead to tensors. */
const inner: Record<Kind, Record<number, Kind>> = {
  model: { 7: 'graph', 25: 'function' },
  function: { 7: 'node' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparse' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparse', 23: 'sparse' },
  sparse: { 1: 'tensor', 2: 'tensor' },
  tensor: {},
};
/** Messages that always hold a name or an operator; runs of empty ones would only fill memory. */
const neverEmpty: Partial<Record<Kind, readonly number[]>> = {
  graph: [1, 5, 11, 12, 13],
  node: [5],
  function: [7],
};

/** raw_data and the typed fields of TensorProto. */
const payloadFields: readonly number[] = [4, 5, 7, 9, 10, 11];

function copyMessage(reader: WindowReader, end: number, kind: Kind, depth: number): Uint8Array[] {
  if (depth > maxDepth) throw malformed(reader, `messages are nested deeper than ${maxDepth}`);
  const parts: Uint8Array[] = [];
  // Fields that stay as they are go over in runs: `runStart` is where the present one began.
  let runStart = reader.position;
  const endRun = (runEnd: number, next: number): void => {
    if (runEnd > runStart) parts.push(reader.bytes(runStart, runEnd));
    runStart = next;
  };
  while (reader.position < end) {
    const start = reader.position;
    const tag = reader.varint(end);
    const field = Math.floor(tag / 8);
    if (field === 0) throw malformed(reader, 'a field has number 0');
    if (tag % 8 !== 2) {
      reader.skip(tag % 8, end);
      if (field >= privateFields.payloadField) endRun(start, reader.position);
      continue;
    }
    const length = reader.varint(end);
    const bodyStart = reader.position;
    const bodyEnd = bodyStart + length;
    if (bodyEnd > end) throw truncated(reader, bodyEnd);
    if (length === 0 && neverEmpty[kind]?.includes(field))
      throw malformed(reader, `a ${kind} holds an empty message`);
    const innerKind = inner[kind][field];
    if (kind === 'tensor' && payloadFields.includes(field) && length > inlineLimit) {
      endRun(start, bodyEnd);
      parts.push(payloadNote(field, bodyStart, length));
    } else if (innerKind && length > inlineLimit) {
      endRun(start, bodyEnd);
      const body = copyMessage(reader, bodyEnd, innerKind, depth + 1);
      parts.push(varint(tag), varint(totalLength(body)));
      // Not spread: a graph may have more nodes than a call may have arguments.
      for (const part of body) parts.push(part);
    }
    reader.position = bodyEnd;
  }
  endRun(end, end);
  return parts;
}

/** Reads a source through a window that moves forward, so that skipped payloads are never loaded. */
class WindowReader {
  position = 0;
  readonly path: string;
  private readonly file: ByteSource;
  private window: Uint8Array = new Uint8Array(0);
  private windowStart = 0;

  constructor(file: ByteSource, path: string) {
    this.file = file;
    this.path = path;
  }

  bytes(start: number, end: number): Uint8Array {
    this.load(start, end);
    // A copy: a view would keep the whole window in memory.
    return this.window.slice(start - this.windowStart, end - this.windowStart);
  }

  varint(end: number): number {
    let value = 0;
    for (let shift = 1, count = 0; count < 10; count++, shift *= 128) {
      if (this.position >= end) throw truncated(this, this.position + 1);
      this.load(this.position, this.position + 1);
      const byte = this.window[this.position - this.windowStart];
      this.position += 1;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
    throw malformed(this, 'a varint is longer than ten bytes');
  }

  skip(wireType: number, end: number): void {
    if (wireType === 0) this.varint(end);
    else if (wireType === 1) this.position += 8;
    else if (wireType === 5) this.position += 4;
    else throw malformed(this, `wire type ${wireType} does not occur in ONNX`);
    if (this.position > end) throw truncated(this, this.position);
  }

  private load(start: number, end: number): void {
    if (start >= this.windowStart && end <= this.windowStart + this.window.length) return;
    const length = Math.min(Math.max(end - start, 1 << 16), this.file.byteLength - start);
    if (start + length < end) throw truncated(this, end);
    this.window = this.file.read(start, length);
    this.windowStart = start;
  }
}

function payloadNote(field: number, offset: number, length: number): Uint8Array {
  const { payloadField, payloadOffset, payloadLength } = privateFields;
  const place = Float64Array.of(offset, length);
  return concat([
    varint(payloadField * 8),
    varint(field),
    varint(payloadOffset * 8 + 1),
    bytesOf(place.subarray(0, 1)),
    varint(payloadLength * 8 + 1),
    bytesOf(place.subarray(1)),
  ]);
}

function totalLength(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.length, 0);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(totalLength(parts));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

function truncated(reader: WindowReader, needed: number): Fault {
  return new Fault({
    code: 'ONNX_TRUNCATED',
    what: 'the ONNX file ends in the middle of a message',
    where: `${reader.path}, byte ${reader.position}`,
    why: `a field claims to reach byte ${needed}`,
    remedy: 'the file was cut short or is no ONNX model: export or download it again',
  });
}

function malformed(reader: WindowReader, why: string): Fault {
  return new Fault({
    code: 'ONNX_MALFORMED',
    what: 'this is not an ONNX model',
    where: `${reader.path}, byte ${reader.position}`,
    why,
    remedy: 'give the path of an .onnx file',
  });
}
