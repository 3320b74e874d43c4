import { expect, test } from 'vitest';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { boundedConfig } from '../../src/pipeline/bounded-config.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const { model } = prepareModel(bundledModel('loop.dyn'));

test('a model that is run at once keeps what the config leaves open', () => {
  const config = configFrom('scheme=w4a4');
  expect(boundedConfig(model, config)).toEqual({ config, notes: [] });
});

test('one that is calibrated layer by layer is not run whole to choose, and says so', () => {
  const { config, notes } = boundedConfig(model, configFrom('scheme=w4a4', 'calibration.byLayer=always'));
  expect(config).toMatchObject({
    activations: { clip: 1 },
    rotation: { down: 'none' },
    router: { realign: false },
  });
  expect(notes).toEqual([
    expect.stringMatching(/^rotation\.down, router\.realign, activations\.clip: auto did nothing/),
  ]);
});

test('ternary weights leave only the routers open', () => {
  const { notes } = boundedConfig(model, configFrom('scheme=ternary', 'calibration.byLayer=always'));
  expect(notes).toEqual([expect.stringMatching(/^router\.realign: auto did nothing/)]);
});

test('what is asked for by name stays', () => {
  const config = configFrom(
    'calibration.byLayer=always',
    'rotation.down=hadamard',
    'router.realign=true',
    'activations.clip=0.9',
  );
  expect(boundedConfig(model, config)).toEqual({ config, notes: [] });
});

test.each([
  ['where activations are too fine to choose', ['scheme=w4a16']],
  ['without records', ['smoothing.enabled=false', 'rounding.method=rtn']],
])('nothing is said %s', (_what, settings) => {
  expect(boundedConfig(model, configFrom('calibration.byLayer=always', ...settings)).notes).toEqual([]);
});

test('a conversion layer by layer tries nothing on the whole model', async () => {
  const stages = new Set<string>();
  const config = configFrom('calibration.byLayer=always', 'calibration.records=8', 'rounding.method=rtn');
  const data = { records: bundledRecords(calibrationData, 80), pool: [] };
  const { routers, notes } = await quantizeModel(bundledModel('loop.dyn'), data, config, ({ stage }) =>
    stages.add(stage),
  );
  expect([...stages]).toEqual(['calibrate', 'quantize']);
  expect(routers.realignment).toBeNull();
  expect(notes).toHaveLength(1);
});
