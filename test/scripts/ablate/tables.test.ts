import { expect, test } from 'vitest';
import type { Figures } from '../../../scripts/ablate/measure.ts';
import type { Row } from '../../../scripts/ablate/plan.ts';
import { keyOf } from '../../../scripts/ablate/results.ts';
import { tablesOf, withTables } from '../../../scripts/ablate/tables.ts';
import { configFrom } from '../../helpers/bundled.ts';

const rows = ['plain', 'better'].map((name, i): Row => ({
  name,
  config: configFrom(`seed=${i}`),
  records: 'given',
}));
const plan = { scheme: 'w4a4', title: 'Four bits', rows };
const [tasks, text] = ['tasks', 'text'].map((name) => ({ name, identity: name }));
const solved: Figures = { match: 0.5, ratio: null, kl: 0.001234, agreement: 0.98765, belowFloor: null };
const read: Figures = { ...solved, match: null, ratio: 1.01 };

test('models with tasks and models with a perplexity have tables of their own', () => {
  const results = new Map([
    [keyOf(tasks, rows[0]), solved],
    [keyOf(tasks, rows[1]), { ...solved, kl: 0.001 }],
    [keyOf(text, rows[1]), read],
  ]);
  expect(tablesOf(plan, [tasks, text], results)).toBe(`## Four bits

|        | tasks: match | KL      | agreement |
| ------ | ------------ | ------- | --------- |
| plain  | 0.5000       | 0.00123 | 0.9877    |
| better | 0.5000       | 0.00100 | 0.9877    |

|        | text: ratio | KL      | agreement |
| ------ | ----------- | ------- | --------- |
| better | 1.0100      | 0.00123 | 0.9877    |
`);
});

test('what has no result yet is left blank, and a plan without any is left out', () => {
  const results = new Map([[keyOf(tasks, rows[0]), solved]]);
  const table = tablesOf(plan, [tasks, { name: 'other', identity: 'other' }], results);
  expect(table).not.toMatch(/better|other/);
  const both = new Map([...results, [keyOf(text, rows[1]), solved]]);
  expect(tablesOf(plan, [tasks, text], both)).toMatch(
    /\| plain +\| 0\.5000 +\| 0\.00123 +\| 0\.9877 +\| +\| +\| +\|/,
  );
  expect(tablesOf(plan, [tasks], new Map())).toBe('');
});

test('balancing has a column where something was balanced', () => {
  const balanced = { ...solved, belowFloor: { before: 5, after: 2, of: 48 } };
  const table = tablesOf(plan, [tasks], new Map([[keyOf(tasks, rows[0]), balanced]]));
  expect(table).toMatch(/below the floor/);
  expect(table).toMatch(/5 → 2 of 48/);
});

test('only what is between the markers changes', () => {
  const first = withTables('# Title\n', 'old');
  expect(first).toMatch(/^# Title\n\n<!--.*-->\n\nold\n<!--.*-->\n$/);
  const document = `${first}\nFindings.\n`;
  const second = withTables(document, 'new');
  expect(second).toBe(document.replace('old', 'new'));
  expect(withTables(second, 'new')).toBe(second);
});
