import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packCrumbs, packNibbles, packTrits } from '../../src/tensor/pack.ts';
import { unpackCrumbs, unpackNibbles, unpackTrits } from './unpack.ts';

const kinds = [
  { name: 'nibbles', base: 16, perByte: 2, pack: packNibbles, unpack: unpackNibbles },
  { name: 'crumbs', base: 4, perByte: 4, pack: packCrumbs, unpack: unpackCrumbs },
  { name: 'trits', base: 3, perByte: 5, pack: packTrits, unpack: unpackTrits },
];

describe.each(kinds)('$name', ({ base, perByte, pack, unpack }) => {
  const codes = fc.array(fc.integer({ min: 0, max: base - 1 }), { maxLength: 40 });

  test('come back as they were', () => {
    fc.assert(
      fc.property(codes, (list) => {
        expect([...unpack(pack(list), list.length)]).toEqual(list);
      }),
    );
  });

  test('stand in a byte as digits of a number, the first the lowest', () => {
    fc.assert(
      fc.property(codes, (list) => {
        const bytes: number[] = [];
        for (let at = 0; at < list.length; at += perByte) {
          bytes.push(list.slice(at, at + perByte).reduceRight((sum, code) => sum * base + code, 0));
        }
        expect([...pack(list)]).toEqual(bytes);
      }),
    );
  });
});

test('many signed codes are packed as few are, wherever they stand in memory', () => {
  const codes = fc.int8Array({ maxLength: 40 });
  fc.assert(
    fc.property(codes, fc.nat({ max: 8 }), (list, start) => {
      const part = list.subarray(start);
      expect(packNibbles(part)).toEqual(packNibbles([...part]));
    }),
  );
});

test('signed codes are packed as two’s complement', () => {
  expect([...packNibbles(Int8Array.of(-8, 7, -1))]).toEqual([0x78, 0x0f]);
  expect([...packCrumbs(Int8Array.of(-2, -1, 0, 1))]).toEqual([0b01_00_11_10]);
});
