import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readModelRecord } from '../../src/moe/model-record.ts';
import { writeModel } from '../../src/onnx/write-model.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom, dataFree } from '../helpers/bundled.ts';
import { deepModel } from '../helpers/small-text-model.ts';

const folder = mkdtempSync(join(tmpdir(), 'moeq-deviations-'));
afterAll(() => rmSync(folder, { recursive: true }));

const quick = ['calibration.affinity=false', 'calibration.balance.enabled=false', 'rotation.down=none'];

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

test('widths that no block or group divides are told', async () => {
  const path = join(folder, 'undivided.onnx');
  writeModel(deepModel({ layers: 1, experts: 2, hidden: 34, intermediate: 37 }), path);
  const { notes } = await quantizeModel(path, null, configFrom(...dataFree, 'group=32'));
  expect(notes.filter((note) => note.includes('divides'))).toEqual([
    '1 layer with one grid per token before gate and up: no number from 8 to 16 divides the width (L0)',
    '1 layer with one grid per token before down: no number from 8 to 16 divides the width (L0)',
    '1 layer with one scale per channel in down: no number from 16 to 32 divides the width (L0)',
  ]);
});

test('a shift that smoothing would make is missed when smoothing is off', async () => {
  const [note] = await notesOf(2, ...dataFree, 'router.realign=false', 'smoothing.shift=true');
  expect(note).toMatch(/^smoothing.shift: nothing is shifted/);
});

test('a rotation that a width or block leaves nothing of is told, before either part', async () => {
  const settings = [...dataFree, 'router.realign=false', 'rotation.input=hadamard', 'rotation.down=hadamard'];
  const notes = await notesOf(2, ...settings, 'rotation.block=1');
  const why = 'a block of one channel stays as it is (L0, L1, L2)';
  expect(notes).toEqual([
    `3 layers not rotated before gate and up: ${why}`,
    `3 layers not rotated before down: ${why}`,
  ]);
  const odd = join(folder, 'odd.onnx');
  writeModel(deepModel({ layers: 1, experts: 2, hidden: 33, intermediate: 25 }), odd);
  const { notes: ofOdd } = await quantizeModel(odd, null, configFrom(...settings));
  expect(ofOdd.filter((note) => note.includes('rotated'))).toEqual([
    '1 layer not rotated before gate and up: the width is odd (L0)',
    '1 layer not rotated before down: the width is odd (L0)',
  ]);
});

test.each([
  [['calibration.balance.enabled=false'], 'calibration.balance.enabled is false'],
  [['calibration.balance.enabled=true'], 'the recipe is not calibrated on records'],
])('a pool that no record is taken from is told: %s', async (settings, why) => {
  const pool = `calibration.balance.pool=${calibrationData}`;
  const notes = await notesOf(2, ...dataFree, 'router.realign=false', pool, ...settings);
  expect(notes).toEqual([`calibration.balance.pool: no record is taken from it, since ${why}`]);
});
