import { isFault } from '../../src/fault.ts';
import { constantOf } from '../../src/onnx/constant.ts';
import { inlineFunctions } from '../../src/onnx/inline-functions.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { everyMessage, externalModel, functionCall, loopAndScan, manyConstants } from './fixtures.ts';
import { changeField } from './wire.ts';

/** A seeded generator of numbers in [0, 1) (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Mutation = (bytes: Buffer, at: number, pick: (below: number) => number) => Buffer;

const telling = [0x00, 0x01, 0x7f, 0x80, 0xff, 0x0a, 0x2a, 0x3a, 0x4a];

const mutations: Mutation[] = [
  (bytes, at) => bytes.subarray(0, at),
  (bytes, at, pick) => withByte(bytes, at, bytes[at] ^ (1 << pick(8))),
  (bytes, at, pick) => withByte(bytes, at, telling[pick(telling.length)]),
  (bytes, at, pick) => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + pick(16))]),
  (bytes, at, pick) => {
    const piece = bytes.subarray(at, at + 1 + pick(64));
    return Buffer.concat([
      bytes.subarray(0, at),
      ...Array.from({ length: 1 + pick(20) }, () => piece),
      bytes.subarray(at),
    ]);
  },
  (bytes, at, pick) => {
    const from = pick(bytes.length);
    const piece = bytes.subarray(from, from + 1 + pick(64));
    return Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at + piece.length)]);
  },
  (bytes, at) =>
    Buffer.concat([bytes.subarray(0, at), Buffer.alloc(9, 0xff), Buffer.from([1]), bytes.subarray(at + 1)]),
];

/** Keeps the message well-formed, so that what lies inside is reached. */
function mutateField(bytes: Uint8Array, pick: (below: number) => number): Uint8Array {
  return changeField(bytes, pick, (field) => {
    const { content } = field;
    const kind = pick(5);
    if (kind === 0) return [];
    if (kind === 1) return Array.from({ length: 1 + pick(20) }, () => field);
    if (kind === 2) return [{ ...field, field: 1 + pick(30) }];
    if (typeof content === 'bigint')
      return [{ ...field, content: [0n, 1n, content + 1n, 1n << 31n, (1n << 64n) - 1n][pick(5)] }];
    if (content.length === 0) return [{ ...field, content: Uint8Array.of(pick(256)) }];
    return [
      {
        ...field,
        content: mutations[pick(mutations.length)](Buffer.from(content), pick(content.length), pick),
      },
    ];
  });
}

/** One to four random changes of a random fixture; sometimes one more that tears its structure. */
export function mutant(random: () => number): Uint8Array {
  const pick = (below: number): number => Math.floor(random() * below);
  let bytes = fixtures[pick(fixtures.length)];
  for (let count = 1 + pick(4); count > 0; count--) bytes = mutateField(bytes, pick);
  if (pick(4) > 0) return bytes;
  return mutations[pick(mutations.length)](Buffer.from(bytes), pick(bytes.length), pick);
}

const fixtures = [
  everyMessage(),
  loopAndScan(),
  functionCall(),
  externalModel('weights.bin'),
  manyConstants(),
];

/**
 * Does with a file what the program does: opens it, reads every weight, changes and saves it.
 * @returns the code of the Fault that ended it, or null; any other error is thrown
 */
export function exercise(bytes: Uint8Array, path: string): string | null {
  try {
    const model = decodeModel(bytes, path);
    for (const value of model.graph.constants) value.tensor!.source.read();
    for (const node of model.graph.nodes) for (const input of node.inputs) constantOf(input);
    inlineFunctions(model);
    model.graph.removeDeadCode();
    decodeModel(encodeModel(model), path);
    return null;
  } catch (error) {
    if (isFault(error)) return error.code;
    throw error;
  }
}

function withByte(bytes: Buffer, at: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = value;
  return copy;
}
