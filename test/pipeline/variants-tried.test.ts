import { expect, test } from 'vitest';
import { variantName } from '../../src/pipeline/layer/variant.ts';
import { variantsTried } from '../../src/pipeline/trials/variants-tried.ts';
import { configFrom } from '../helpers/bundled.ts';

const tried = (hasRecords: boolean, ...settings: string[]): string[] =>
  variantsTried(configFrom(...settings), hasRecords).map(variantName);

test('auto tries a rotation and none, given records and coarse activations', () => {
  expect(tried(true, 'calibration.affinity=false')).toEqual(['none', 'hadamard']);
  expect(tried(false)).toEqual(['none']);
  expect(tried(true, 'scheme=w4a8', 'calibration.affinity=false')).toEqual(['none']);
  expect(tried(true, 'rotation.down=hadamard', 'calibration.affinity=false')).toEqual(['hadamard']);
});

test('auto tries what weighing tokens by their routing does, where XᵀX counts and weights are coarse', () => {
  expect(tried(true).slice(-2)).toEqual(['hadamard', 'hadamard, affinity']);
  expect(tried(true, 'rotation.down=none')).toEqual(['none', 'none, affinity']);
  expect(tried(true, 'rotation.down=none', 'rounding.method=rtn')).toEqual(['none']);
  for (const scheme of ['w4a16', 'w4a8', 'ternary', 'ternary-a8'])
    expect(tried(true, `scheme=${scheme}`)).toEqual(['none', 'none, affinity']);
  expect(tried(true, 'scheme=w8a8')).toEqual(['none']);
  expect(tried(false, 'scheme=ternary')).toEqual(['none']);
  expect(tried(true, 'scheme=ternary', 'ternary.fit=exact', 'ternary.compensate=false')).toEqual(['none']);
  expect(tried(true, 'rotation.down=none', 'calibration.affinity=true')).toEqual(['none, affinity']);
});
