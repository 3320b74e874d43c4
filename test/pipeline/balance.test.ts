import { beforeAll, expect, test } from 'vitest';
import type { DataRecord } from '../../src/data/record.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { reportCalibration } from '../../src/pipeline/report-calibration.ts';
import { bundledModel, bundledRecords, configFrom, evaluationData } from '../helpers/bundled.ts';

/** Eight tasks, one after another: the first records are of two of them only. */
const records: DataRecord[] = bundledRecords(evaluationData).toSorted((a, b) =>
  (a.task ?? '').localeCompare(b.task ?? ''),
);
const first = 64;
/** What comes after calibration is not looked at, so nothing is tried. */
const untried = ['rounding.method=rtn', 'rotation.down=none', 'router.realign=false'];
const settings = [`calibration.records=${first}`, ...untried];

let balanced: QuantizedModel;
let plain: QuantizedModel;
beforeAll(async () => {
  const model = bundledModel('batched.dyn');
  const data = { records, pool: [] };
  balanced = await quantizeModel(model, data, configFrom(...settings));
  plain = await quantizeModel(model, data, configFrom(...settings, 'calibration.balance.enabled=false'));
});

/** Experts per layer that see fewer tokens than a floor. */
function belowFloor({ layers }: QuantizedModel, floors: readonly number[]): number[] {
  return layers.map(({ stats }, i) => stats!.experts.filter(({ tokens }) => tokens < floors[i]).length);
}

test('the pool holds eight tasks and its first records few of them', () => {
  expect(new Set(records.map(({ task }) => task)).size).toBe(8);
  expect(new Set(records.slice(0, first).map(({ task }) => task)).size).toBeLessThan(3);
});

test('fewer experts stay below the floor than with the first records, in every layer', () => {
  const floors = balanced.balance!.layers.map(({ floor }) => floor);
  const [after, before] = [belowFloor(balanced, floors), belowFloor(plain, floors)];
  expect(after).toHaveLength(3);
  after.forEach((count, i) => expect(count).toBeLessThan(before[i]));
});

test('the report shows what balancing did', () => {
  const { layers } = reportCalibration(balanced)!;
  const floors = layers.map(({ floor }) => floor);
  const [after, before] = [belowFloor(balanced, floors), belowFloor(plain, floors)];
  layers.forEach(({ experts }, i) => {
    expect(experts.before.starved + experts.before.unseen).toBe(before[i]);
    expect(experts.after.starved + experts.after.unseen).toBe(after[i]);
    expect(experts.after.covered).toBe(16 - after[i]);
  });
});

test('where there is nothing to top up from, that is said', async () => {
  const few = { records: records.slice(0, first), pool: [] };
  const config = configFrom('calibration.affinity=false', ...untried);
  const { notes } = await quantizeModel(bundledModel('batched.dyn'), few, config);
  expect(notes).toContainEqual(expect.stringMatching(/^calibration\.balance: \d+ experts below the floor/));
  expect(balanced.notes.filter((note) => note.includes('balance'))).toEqual([]);
});
