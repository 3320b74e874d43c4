import { expect, test } from 'vitest';
import { balanceRecords, coverageOf } from '../../src/calibrate/balance-records.ts';
import type { RecordCounts } from '../../src/calibrate/count-tokens.ts';

/** One layer, top-1: visits per record and expert; a record's tokens are its visits. */
function counts(visits: number[][]): RecordCounts {
  return {
    tokens: Uint32Array.from(visits, (row) => row.reduce((a, b) => a + b, 0)),
    layers: [{ id: 'L0', k: 1, experts: visits[0].length, visits: Uint32Array.from(visits.flat()) }],
  };
}

test('records that feed starving experts are added until every floor is met', () => {
  const balance = balanceRecords(
    counts([
      [8, 0],
      [8, 0],
      [0, 8],
      [0, 8],
    ]),
    1,
    1,
  );
  // 8 base tokens over 2 experts: a floor of 4, which expert 1 reaches with the first record that feeds it.
  expect(balance.chosen).toEqual([0, 2]);
  expect(balance.layers).toEqual([
    {
      id: 'L0',
      floor: 4,
      before: { covered: 1, starved: 0, unseen: 1 },
      after: { covered: 2, starved: 0, unseen: 0 },
    },
  ]);
});

test('the record that gives most per token comes first', () => {
  const balance = balanceRecords(
    counts([
      [4, 0],
      [6, 2],
      [0, 2],
    ]),
    1,
    1,
  );
  expect(balance.chosen).toEqual([0, 2]);
});

test('a dry pool ends the search, and a record that helps nobody is not taken', () => {
  const balance = balanceRecords(
    counts([
      [4, 0],
      [4, 0],
      [3, 1],
    ]),
    1,
    1,
  );
  expect(balance.chosen).toEqual([0, 2]);
  expect(balance.layers[0].after).toEqual({ covered: 1, starved: 1, unseen: 0 });
});

test('a base that covers everything is left alone', () => {
  expect(
    balanceRecords(
      counts([
        [4, 4],
        [4, 4],
      ]),
      1,
      1,
    ).chosen,
  ).toEqual([0]);
});

test('coverage counts an expert without tokens as unseen, whatever the floor', () => {
  expect(coverageOf([0, 1, 5], 2)).toEqual({ covered: 1, starved: 1, unseen: 1 });
  expect(coverageOf([0, 1], 0)).toEqual({ covered: 1, starved: 0, unseen: 1 });
});
