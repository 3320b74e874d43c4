import { expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { boundedConfig } from '../../src/pipeline/trials/bounded-config.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const { model } = prepareModel(bundledModel('loop.dyn'));

test('a model that is run at once keeps what the config leaves open', () => {
  const config = configFrom('scheme=w4a4');
  expect(boundedConfig(model, config, true)).toEqual({ config, notes: [] });
});

test('one that is calibrated layer by layer is not run whole to choose, and says so', () => {
  const { config, notes } = boundedConfig(
    model,
    configFrom('scheme=w4a4', 'calibration.byLayer=always'),
    true,
  );
  expect(config).toMatchObject({
    calibration: { affinity: true },
    rotation: { down: 'hadamard', block: 'auto' },
    router: { realign: 'auto' },
  });
  expect(notes).toEqual([
    expect.stringMatching(
      /^rotation\.down, calibration\.affinity: auto took "hadamard, affinity" untried, since/,
    ),
  ]);
});

test('ternary weights leave open how tokens count, and nothing else', () => {
  const given = configFrom('scheme=ternary', 'calibration.byLayer=always');
  const { config, notes } = boundedConfig(model, given, true);
  expect(config.router).toEqual(given.router);
  expect(config.calibration.affinity).toBe(true);
  expect(notes).toEqual([
    expect.stringMatching(/^calibration\.affinity: auto took "none, affinity" untried/),
  ]);
  const said = configFrom('scheme=ternary', 'calibration.byLayer=always', 'calibration.affinity=false');
  expect(boundedConfig(model, said, true).notes).toEqual([]);
});

test('what is asked for by name stays', () => {
  const config = configFrom(
    'calibration.byLayer=always',
    'calibration.affinity=false',
    'rotation.down=hadamard',
    'router.realign=true',
  );
  expect(boundedConfig(model, config, true)).toEqual({ config, notes: [] });
});

test.each([
  ['where weights and activations are too fine to choose', true, ['scheme=w8a8']],
  ['without records', false, ['smoothing.enabled=false', 'rounding.method=rtn']],
])('nothing is said %s', (_what, hasRecords, settings) => {
  const config = configFrom('calibration.byLayer=always', ...settings);
  expect(boundedConfig(model, config, hasRecords).notes).toEqual([]);
});

test('a conversion layer by layer tries nothing on the whole model, and realigns routers in turn', async () => {
  const stages = new Set<string>();
  const config = configFrom('calibration.byLayer=always', 'calibration.records=64', 'rounding.method=rtn');
  const data = { records: bundledRecords(calibrationData, 80), pool: [] };
  const { routers, notes } = await quantizeModel(bundledModel('loop.dyn'), data, config, ({ stage }) =>
    stages.add(stage),
  );
  expect([...stages]).toEqual(['read', 'calibrate', 'quantize', 'realign']);
  expect(routers.realignment).toHaveLength(3);
  expect(notes.filter((note) => note.includes('untried'))).toHaveLength(1);
});
