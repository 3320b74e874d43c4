import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { balanceRecords, coverageOf } from '../../src/calibrate/balance-records.ts';
import type { RecordCounts } from '../../src/calibrate/count-tokens.ts';

/** One layer, top-1: visits per record and expert; a record's tokens are its visits. */
function counts(visits: number[][], columns = [...visits[0].keys()]): RecordCounts {
  const experts = visits[0].length;
  return {
    tokens: Uint32Array.from(visits, (row) => row.reduce((a, b) => a + b, 0)),
    layers: [{ id: 'L0', k: 1, experts, visits: Uint32Array.from(visits.flat()), columns }],
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

test('experts without matrices starve nobody and are not counted', () => {
  const visits = [
    [6, 0, 0],
    [0, 0, 6],
    [0, 6, 0],
  ];
  const { chosen, layers } = balanceRecords(counts(visits, [0, 1]), 1, 1);
  expect(chosen).toEqual([0, 2]);
  expect(layers[0].before).toEqual({ covered: 1, starved: 0, unseen: 1 });
  expect(layers[0].after).toEqual({ covered: 2, starved: 0, unseen: 0 });
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

/** What the lazy choice stands for: every record is looked at again in every step. */
function plainGreedy({ tokens, layers }: RecordCounts, base: number, floors: readonly number[]): number[] {
  const chosen = Array.from({ length: base }, (_, record) => record);
  const seen = layers.map(({ experts }) => new Uint32Array(experts));
  const add = (record: number): void =>
    layers.forEach(({ experts, visits }, l) =>
      seen[l].forEach((_, e) => (seen[l][e] += visits[record * experts + e])),
    );
  chosen.forEach(add);
  const gainOf = (record: number): number => {
    const gains = layers.map(({ experts, visits }, l) =>
      seen[l].reduce((sum, count, e) => {
        const missing = floors[l] - count;
        return missing > 0 ? sum + Math.min(missing, visits[record * experts + e]) / floors[l] : sum;
      }, 0),
    );
    return gains.reduce((sum, gain) => sum + gain, 0) / Math.max(tokens[record], 1);
  };
  const pool = Array.from({ length: tokens.length - base }, (_, i) => base + i);
  for (;;) {
    const gains = pool.map(gainOf);
    const most = Math.max(0, ...gains);
    if (most === 0) return chosen;
    const [next] = pool.splice(gains.indexOf(most), 1);
    chosen.push(next);
    add(next);
  }
}

test('the lazy choice is that of looking at every record in every step', () => {
  const visits = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(
      fc.array(visits, { minLength: 3, maxLength: 40 }),
      fc.integer({ min: 1, max: 3 }),
      fc.constantFrom(0.5, 1, 2, 8),
      (rows, base, ratio) => {
        // Two layers of four experts, each record's tokens visiting one expert in each.
        const half = (from: number) => Uint32Array.from(rows.flatMap((row) => row.slice(from, from + 4)));
        const tokens = Uint32Array.from(rows, (row) => row.slice(0, 4).reduce((a, b) => a + b, 0));
        const layers = ['L0', 'L1'].map((id, l) => ({
          id,
          k: 1,
          experts: 4,
          visits: half(4 * l),
          columns: [0, 1, 2, 3],
        }));
        const balance = balanceRecords({ tokens, layers }, base, ratio);
        const floors = balance.layers.map(({ floor }) => floor);
        expect(balance.chosen).toEqual(plainGreedy({ tokens, layers }, base, floors));
      },
    ),
  );
});
