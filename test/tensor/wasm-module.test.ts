import { expect, test } from 'vitest';
import { add, integer, repeat, simd, simdAt, wasmModule } from '../../src/tensor/wasm-module.ts';

test('an assembled function loops over vectors in its memory', () => {
  const { memory, call } = wasmModule(1, {
    // Doubles integers in place, four at a time: i32x4.add of what was loaded to itself.
    double: {
      params: ['at', 'end'],
      vectors: ['four'],
      body: (v) =>
        repeat(
          [
            v.set('four', simdAt(0, 0, v.get('at'))),
            simdAt(11, 0, v.get('at'), simd(174, v.get('four'), v.get('four'))),
            v.advance('at', integer(16)),
          ],
          v.get('at'),
          v.get('end'),
        ),
    },
  });
  const numbers = new Int32Array(memory, 0, 12);
  numbers.set([1, -2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  call.double(0, 32);
  expect([...numbers]).toEqual([2, -4, 6, 8, 10, 12, 14, 16, 9, 10, 11, 12]);
});

test.each([0, 63, 64, -64, -65, 127, 128, 8191, 8192, 0x7fffffff, -0x80000000])(
  'the constant %d keeps its value',
  (value) => {
    const { memory, call } = wasmModule(1, {
      // i32x4.splat, stored at twice the address given.
      put: {
        params: ['at'],
        vectors: [],
        body: (v) => simdAt(11, 0, add(v.get('at'), v.get('at')), simd(17, integer(value))),
      },
    });
    call.put(8);
    expect(new Int32Array(memory, 0, 8)).toEqual(Int32Array.of(0, 0, 0, 0, value, value, value, value));
  },
);
