import { expect, test } from 'vitest';
import { contentKey } from '../../src/jobs/plan/identity.ts';

test('a key is SHA-256 of the JSON text with sorted keys', () => {
  // The last is what `printf '{"a":1,"b":2}' | sha256sum` prints.
  expect(contentKey({ b: [2, { d: null, c: 3 }], a: 1 })).toBe(
    contentKey({ a: 1, b: [2, { c: 3, d: null }] }),
  );
  expect(contentKey({ a: 1, b: 2 })).toBe('43258cff783fe7036d8a43033f830adfc60ec037382473548ac742b888292777');
});

test('order in lists, types and names count', () => {
  const keys = [[1, 2], [2, 1], ['1', 2], { a: 1 }, { b: 1 }, null, 'null'].map(contentKey);
  expect(new Set(keys).size).toBe(keys.length);
});
