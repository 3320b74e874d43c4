import type { Code, Variables, WasmModule } from '../tensor/wasm-module.ts';
import { double, integer, repeat, simd, simdAt, wasmModule } from '../tensor/wasm-module.ts';

/** Bytes of memory for what is worked on at a time: the second-level cache of a core holds them. */
export const chunkBytes = 2 ** 18;
/** Where a kernel finds its arrays: one chunk each, and float64 of all inputs. */
export const places = {
  data: 0,
  codes: chunkBytes,
  scales: 2 * chunkBytes,
  sums: 3 * chunkBytes,
  x: 4 * chunkBytes,
};
/** Inputs that are multiplied at a time: to read a code takes as long as to multiply it. */
export const inputsAtOnce = 3;
const pages = (places.x + 2 * inputsAtOnce * chunkBytes) / 65536;
/** Kernels take whole vectors: groups have to be multiples of so many weights. */
export const lanes = 16;

type Kernel = 'largest' | 'round' | 'multiply';

let loaded: WasmModule<Kernel> | null = null;

/**
 * Loops over groups of weights by vector instructions, in float64 like their twins in JavaScript. Addresses are in
 * bytes, groups in bytes of their weights.
 * - `largest(data, end, group, scales)`: float32 data → the bits of each group's largest magnitude;
 * - `round(data, end, group, scales, codes)`: float32 data and scales → int8 codes, ties to even;
 * - `multiply(codes, end, group, scales, x, sums)`: one row of int8 codes times three float64 inputs → three float64 sums; `x`
 *   holds four numbers of each input in turn.
 */
export function vectorKernels(): WasmModule<Kernel> {
  return (loaded ??= wasmModule(pages, {
    largest: {
      params: ['data', 'end', 'group', 'scales', 'stop'],
      vectors: ['most'],
      body: largest,
    },
    round: {
      params: ['data', 'end', 'group', 'scales', 'codes', 'stop'],
      vectors: ['inverse', 'four'],
      body: round,
    },
    multiply: {
      params: ['codes', 'end', 'group', 'scales', 'x', 'sums', 'stop'],
      vectors: ['scale', 'four', 'low', 'high', ...eachInput('sum'), ...eachInput('part')],
      body: multiply,
    },
  }));
}

const load = (address: Code, offset = 0): Code => simdAt(0, offset, address);
const store = (address: Code, value: Code, offset = 0): Code => simdAt(11, offset, address, value);
const and = (a: Code, b: Code): Code => simd(78, a, b);
const splatInteger = (value: Code): Code => simd(17, value);
const splatDouble = (value: Code): Code => simd(20, value);
const maxIntegers = (a: Code, b: Code): Code => simd(184, a, b);
/** The first two float32 or int32 as float64. */
const doublesOfFloats = (a: Code): Code => simd(95, a);
const doublesOfIntegers = (a: Code): Code => simd(254, a);
const addDoubles = (a: Code, b: Code): Code => simd(240, a, b);
const subtractDoubles = (a: Code, b: Code): Code => simd(241, a, b);
const multiplyDoubles = (a: Code, b: Code): Code => simd(242, a, b);
const divideDoubles = (a: Code, b: Code): Code => simd(243, a, b);
const shortsOf = (a: Code, b: Code): Code => simd(133, a, b);
const bytesOf = (a: Code, b: Code): Code => simd(101, a, b);
/** Picks 4-byte lanes from two vectors: 0 to 3 of the first, 4 to 7 of the second. */
const pick = (a: Code, b: Code, ...picked: number[]): Code => [
  simd(13, a, b),
  picked.flatMap((lane) => [0, 1, 2, 3].map((byte) => lane * 4 + byte)),
];
const upperHalf = (a: Code): Code => pick(a, a, 2, 3, 2, 3);
/** A scale, float32 in memory, as two doubles. */
const scaleAt = (address: Code): Code => splatDouble([address, 0x2a, 0, 0, 0xbb]);

/** Does something for every group until `end`, and moves on to the next scale. */
function eachGroup(v: Variables, counter: string, group: Code): Code {
  return repeat(
    [v.set('stop', [v.get(counter), v.get('group'), 0x6a]), group, v.advance('scales', integer(4))],
    v.get(counter),
    v.get('end'),
  );
}

function largest(v: Variables): Code {
  const magnitude = and(load(v.get('data')), splatInteger(integer(0x7fffffff)));
  const most = v.get('most');
  return eachGroup(v, 'data', [
    v.set('most', splatInteger(integer(0))),
    repeat(
      [v.set('most', maxIntegers(most, magnitude)), v.advance('data', integer(16))],
      v.get('data'),
      v.get('stop'),
    ),
    v.set('most', maxIntegers(most, upperHalf(most))),
    v.set('most', maxIntegers(most, pick(most, most, 1, 1, 1, 1))),
    // The first lane, stored as an integer.
    [v.get('scales'), simd(27, most), 0, 0x36, 0, 0],
  ]);
}

/** A number so large that adding it to smaller ones rounds them to multiples of 2^-bits, ties to even. */
const roundsTo = (bits: number): Code => splatDouble(double(1.5 * 2 ** (52 - bits)));

/** Nearest multiples of 2^-40. */
const near = (a: Code): Code => subtractDoubles(addDoubles(a, roundsTo(40)), roundsTo(40));

/**
 * Multiplies by the inverse, which is faster than to divide and gives the same codes: a quotient of two float32 below 2^7
 * is a tie or at least 2^-26 from one, the product differs from it by 2^-45 at most, and multiples of 2^-40 are ties again
 * where the quotient was.
 */
function round(v: Variables): Code {
  const product = (floats: Code): Code => multiplyDoubles(doublesOfFloats(floats), v.get('inverse'));
  // The lower halves of the sums are the codes as integers.
  const steps = (floats: Code): Code => addDoubles(near(product(floats)), roundsTo(0));
  const codesOf = (at: number): Code => [
    v.set('four', load(v.get('data'), at * 16)),
    pick(steps(v.get('four')), steps(upperHalf(v.get('four'))), 0, 2, 4, 6),
  ];
  const codes = bytesOf(shortsOf(codesOf(0), codesOf(1)), shortsOf(codesOf(2), codesOf(3)));
  return eachGroup(v, 'data', [
    v.set('inverse', divideDoubles(splatDouble(double(1)), scaleAt(v.get('scales')))),
    repeat(
      [store(v.get('codes'), codes), v.advance('data', integer(64)), v.advance('codes', integer(16))],
      v.get('data'),
      v.get('stop'),
    ),
  ]);
}

function multiply(v: Variables): Code {
  const zero = splatInteger(integer(0));
  const addProduct = (part: string, i: number): Code =>
    ['low', 'high'].map((half, at) =>
      v.set(part, addDoubles(v.get(part), multiplyDoubles(load(v.get('x'), i * 32 + at * 16), v.get(half)))),
    );
  const addScaled = (sum: string, i: number): Code =>
    v.set(sum, addDoubles(v.get(sum), multiplyDoubles(v.get(`part${i}`), v.get('scale'))));
  // Four codes: 32 bits, widened twice.
  const four = simd(167, simd(135, simdAt(92, 0, v.get('codes'))));
  const total = (sum: string): Code => addDoubles(v.get(sum), pick(v.get(sum), v.get(sum), 2, 3, 0, 1));
  return [
    eachInput('sum').map((sum) => v.set(sum, zero)),
    eachGroup(v, 'codes', [
      eachInput('part').map((part) => v.set(part, zero)),
      repeat(
        [
          v.set('four', four),
          v.set('low', doublesOfIntegers(v.get('four'))),
          v.set('high', doublesOfIntegers(upperHalf(v.get('four')))),
          eachInput('part').map(addProduct),
          v.advance('x', integer(inputsAtOnce * 32)),
          v.advance('codes', integer(4)),
        ],
        v.get('codes'),
        v.get('stop'),
      ),
      v.set('scale', scaleAt(v.get('scales'))),
      eachInput('sum').map(addScaled),
    ]),
    // In order, so that the second half of each is written over by the next.
    eachInput('sum').map((sum, i) => store(v.get('sums'), total(sum), i * 8)),
  ];
}

/** A variable for each input. */
function eachInput(name: string): string[] {
  return Array.from({ length: inputsAtOnce }, (_, i) => `${name}${i}`);
}
