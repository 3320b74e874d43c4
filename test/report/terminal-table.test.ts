import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { plainPaint, shortenMiddle, terminalTable } from '../../src/report/terminal-table.ts';
import { wrapText } from '../../src/report/wrap-text.ts';

test('numbers stand right and names left', () => {
  const columns = [{ title: 'name' }, { title: 'value', align: 'right' as const }];
  expect(
    terminalTable(columns, [
      ['a', '1'],
      ['longer', '12345678'],
    ]),
  ).toEqual(['name       value', 'a              1', 'longer  12345678']);
});

test('a tone colours the text and not its padding', () => {
  const columns = [
    {
      title: 'n',
      align: 'right' as const,
      tone: (text: string) => (text === '0' ? ('bad' as const) : undefined),
    },
  ];
  expect(terminalTable(columns, [['0'], ['10']], tagPaint)).toEqual([' <dim>n</>', ' <bad>0</>', '10']);
});

test('control characters of a model file never reach the screen', () => {
  expect(terminalTable([{ title: 'name' }], [['a\u001B[31mred\n']])[1]).toBe('a?[31mred?');
});

test('any table of names and short numbers fits its width', () => {
  const row = fc.tuple(fc.string({ maxLength: 200 }), fc.nat().map(String), fc.string({ maxLength: 200 }));
  fc.assert(
    fc.property(fc.array(row, { maxLength: 5 }), fc.integer({ min: 50, max: 120 }), (rows, width) => {
      const columns = [{ title: 'a' }, { title: 'count', align: 'right' as const }, { title: 'c' }];
      const lines = terminalTable(columns, rows, plainPaint, width);
      expect(lines).toHaveLength(rows.length + 1);
      for (const line of lines) expect(Array.from(line).length).toBeLessThanOrEqual(width);
    }),
  );
});

test('the middle of a long name gives way', () => {
  expect(shortenMiddle('layers.12.experts.up_proj', 11)).toBe('layer…_proj');
  expect(shortenMiddle('short', 5)).toBe('short');
});

test('wrapped text keeps its words in order', () => {
  expect(wrapText('one two three four', 9)).toEqual(['one two', 'three', 'four']);
  expect(wrapText('abcdefghijkl mn', 7)).toEqual(['abc…jkl', 'mn']);
});

function tagPaint(tone: string, text: string): string {
  return `<${tone}>${text}</>`;
}
