import { expect, test } from 'vitest';
import { allowedValues } from '../../src/config/allowed-values.ts';
import { batchSchema } from '../../src/config/batch-schema.ts';
import { configSchema } from '../../src/config/schema.ts';

test.each([
  ['group', 'auto, channel, or a whole number of at least 1'],
  ['router.bits', '8 or null'],
  ['smoothing.alpha', 'a number of at least 0 and at most 1'],
  ['rounding.damping', 'a number of more than 0'],
  ['calibration.affinity', 'auto, true, or false'],
  ['output.externalData', 'auto, always, or never'],
  ['data', 'a path or null'],
  ['gates.min.task.add', 'a number or keys with values'],
  ['router', 'keys with values'],
])('%s takes %s', (key, words) => {
  expect(allowedValues(configSchema, key.split('.'))).toBe(words);
});

test('an item of a list is found, and a key that is not there is not', () => {
  expect(allowedValues(batchSchema, ['models', 0, 'verify', 'records'])).toBe(
    'a whole number of at least 1 or null',
  );
  expect(allowedValues(configSchema, ['nothere'])).toBeNull();
});
