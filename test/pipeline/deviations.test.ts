import { expect, test } from 'vitest';
import { readModelRecord } from '../../src/moe/model-record.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom, dataFree } from '../helpers/bundled.ts';

const quick = [
  'calibration.affinity=false',
  'calibration.balance.enabled=false',
  'rotation.down=none',
  'activations.clip=1',
];

function quantized(count: number, ...settings: string[]): Promise<QuantizedModel> {
  const data = { records: bundledRecords(calibrationData, count), pool: [] };
  return quantizeModel(bundledModel('batched.dyn'), data, configFrom(...quick, ...settings));
}

async function notesOf(count: number, ...settings: string[]): Promise<string[]> {
  return (await quantized(count, ...settings)).notes;
}

test('experts that few tokens or none reached are named, with what was done instead', async () => {
  const { notes, layers, model } = await quantized(2);
  expect(notes).toEqual([
    expect.stringMatching(/^\d+ experts? without a calibration token, rounded by clip search alone \(L0\.E/),
    expect.stringMatching(
      /^\d+ experts? with fewer than 32 calibration tokens, not smoothed before down \(.*and \d+ more\)$/,
    ),
    'router.realign: auto did nothing, since it takes 64 records to judge, and there are 2',
  ]);
  const methods = layers.map(({ stats }) =>
    stats!.experts.map(({ tokens }) => (tokens > 0 ? 'gptq' : 'clip')),
  );
  expect(methods.flat()).toContain('clip');
  expect(readModelRecord(model)!.layers.map((layer) => layer.methods)).toEqual(methods);
});

test('routers in 8 bits are no reason against realigning them', async () => {
  const notes = await notesOf(64, 'router.bits=8', 'rounding.method=rtn');
  expect(notes.filter((note) => note.startsWith('router.'))).toEqual([]);
});

test('what a config does not ask for is no deviation', async () => {
  expect(await notesOf(2, ...dataFree, 'router.realign=false')).toEqual([]);
});

test('a shift that smoothing would make is missed when smoothing is off', async () => {
  const [note] = await notesOf(2, ...dataFree, 'router.realign=false', 'smoothing.shift=true');
  expect(note).toMatch(/^smoothing.shift: nothing is shifted/);
});
