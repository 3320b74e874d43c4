import { expect, test } from 'vitest';
import type { Row } from '../../../scripts/ablate/plan.ts';
import { balancePlan, planOf, trialPlan } from '../../../scripts/ablate/plan.ts';
import { keyOf } from '../../../scripts/ablate/results.ts';
import { configFrom } from '../../helpers/bundled.ts';

const withoutBalance = 'calibration.balance.enabled=false';

function rowOf(rows: readonly Row[], name: string): Row {
  return rows.find((row) => row.name.includes(name))!;
}

test.each(['w4a4', 'w3a4', 'w4a16', 'ternary', 'ternary-a8'])('the lines of %s differ', (name) => {
  const { rows } = planOf(name);
  expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
  expect(new Set(rows.map((row) => keyOf({ identity: '' }, row))).size).toBe(rows.length);
});

test('w4a4 is built up from plain rounding to the default', () => {
  const { rows } = planOf('w4a4');
  expect(rowOf(rows, '= default').config).toEqual(configFrom(withoutBalance));
  const { smoothing, rounding, rotation, router } = rows[0].config;
  expect([smoothing.enabled, rounding.method, rotation.down, router.realign]).toEqual([
    false,
    'rtn',
    'none',
    false,
  ]);
  expect(rowOf(rows, '+ smoothing').config.smoothing.enabled).toBe(true);
  expect(rowOf(rows, '+ smoothing').config.rounding.method).toBe('rtn');
});

test('a scheme with a recipe of its own takes it', () => {
  const { config } = rowOf(planOf('ternary').rows, '= default');
  // What a bare --scheme ternary has not.
  expect([config.scheme, config.group, config.smoothing.down]).toEqual(['ternary', 32, 'otsu']);
  const { config: before } = rowOf(planOf('ternary').rows, '+ affinity');
  expect(before.smoothing.enabled).toBe(false);
});

test('balancing is tried on skewed records, elsewhere it is off', () => {
  const [few, balanced, all] = balancePlan().rows;
  expect([few, balanced, all].map(({ records }) => records)).toEqual(['skewed', 'skewed', 'skewed']);
  expect([few, balanced, all].map(({ config }) => config.calibration.balance.enabled)).toEqual([
    false,
    true,
    false,
  ]);
  expect([few, balanced, all].map(({ config }) => config.calibration.records)).toEqual([64, 64, null]);
  expect(planOf('w4a4').rows.some(({ config }) => config.calibration.balance.enabled)).toBe(false);
});

test('settings can be tried on the default', () => {
  const { rows } = trialPlan('w4a4', ['smoothing.alpha=0.3 rotation.down=none']);
  expect(rows.map(({ config }) => config)).toEqual([
    configFrom(withoutBalance, 'smoothing.alpha=0.3', 'rotation.down=none'),
  ]);
});

test('a scheme without steps is refused', () => {
  expect(() => planOf('w5a5')).toThrow(/ABLATION_SCHEME/);
});
