import { expect, test } from 'vitest';
import { nearestWord } from '../../src/config/nearest-word.ts';

const keys = ['scheme', 'target', 'data', 'threads'];

test.each([
  ['schem', 'scheme'],
  ['schemes', 'scheme'],
  ['schene', 'scheme'],
  ['shceme', 'scheme'],
  ['daat', 'data'],
  ['TARGET', 'target'],
])('%s is meant to be %s', (word, meant) => {
  expect(nearestWord(word, keys)).toBe(meant);
});

test.each(['dta1', 'recipe', ''])('%j is none of them', (word) => {
  expect(nearestWord(word, keys)).toBeUndefined();
});
