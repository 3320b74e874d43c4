import { expect, test } from 'vitest';
import { noClips } from '../../src/emit/forms/activation-clips.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import { reportCalibration } from '../../src/pipeline/report-calibration.ts';
import type { ClippedLayer } from '../../src/pipeline/trials/clips.ts';
import { bestClips, givenClips, measuresClips } from '../../src/pipeline/trials/clips.ts';
import type { Workshop } from '../../src/pipeline/workshop.ts';
import { plainWorkshop } from '../../src/pipeline/workshop.ts';
import { checksOf } from '../../src/pipeline/write-experts.ts';
import { checkParity } from '../../src/verify/check-parity.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';
import { faultOf } from '../helpers/fault-of.ts';

const path = bundledModel('loop.dyn');
const data = { records: bundledRecords(calibrationData, 48), pool: [] };
const settings = [
  'rounding.method=rtn',
  'calibration.balance.enabled=false',
  'rotation.down=none',
  'router.realign=false',
];

/** `isBetter` stands for what a trial of the clipped model finds. */
function quantized(isBetter: boolean, ...more: string[]): Promise<QuantizedModel> {
  const remember: Workshop['remember'] = async <T>(step: string, compute: () => Promise<T>) =>
    step === 'clip:tried' ? (isBetter as T) : compute();
  const config = configFrom(...settings, ...more);
  return quantizeModel(path, data, config, () => {}, { ...plainWorkshop, remember });
}

test('auto measures where activations are coarse, records are given, and the target has a place for it', () => {
  expect(measuresClips(configFrom('scheme=w4a4'), true)).toBe(true);
  expect(measuresClips(configFrom('scheme=w4a4'), false)).toBe(false);
  expect(measuresClips(configFrom('scheme=w4a8'), true)).toBe(false);
  expect(measuresClips(configFrom('scheme=w4a4', 'target=qdq', 'activations.clip=0.9'), true)).toBe(false);
});

function clippedOf({ layers }: QuantizedModel): (ClippedLayer | null)[] {
  return layers.map(({ clipped }) => clipped);
}

/** Bytes of the codes of every linear, by name. */
function weightsOf({ model }: QuantizedModel): Map<string, Uint8Array> {
  const weights = [...model.graph.constants].filter(({ name }) => name.endsWith('/weight'));
  return new Map(weights.map(({ name, tensor }) => [name, tensor!.source.read()]));
}

test('a model is written anew with what leaves least error, by the same weights', async () => {
  const [whole, clipped] = [await quantized(true, 'activations.clip=1'), await quantized(true)];
  expect(clippedOf(whole)).toEqual([null, null, null]);
  const layers = clippedOf(clipped).map((layer) => layer!);
  expect(layers.map(({ layer }) => layer)).toEqual(['L0', 'L1', 'L2']);
  for (const { clips, error } of layers) {
    expect(clips.input).toBeLessThan(1);
    expect(error.input).toBeLessThan(0.99);
    expect(clips.hidden === 1 || error.hidden < 0.99).toBe(true);
  }
  expect(weightsOf(clipped)).toEqual(weightsOf(whole));
  const file = decodeModel(encodeModel(clipped.model), path);
  await expect(checkParity(file, checksOf(clipped))).resolves.toBeUndefined();
  // What clipped linears must compute is not what others do.
  await expect(checkParity(file, checksOf(whole))).rejects.toMatchObject({ code: 'PARITY' });
  const shown = reportCalibration(clipped)!.layers[1].activations!;
  expect(shown.input).toEqual({ ratio: layers[1].clips.input, error: layers[1].error.input });
});

test('a model that is nearer to the reference without stays whole', async () => {
  const [whole, tried] = [await quantized(true, 'activations.clip=1'), await quantized(false)];
  expect(clippedOf(tried).map((layer) => layer!.clips)).toEqual(Array.from({ length: 3 }, () => noClips));
  const file = decodeModel(encodeModel(tried.model), path);
  await expect(checkParity(file, checksOf(whole))).resolves.toBeUndefined();
});

test('a share that is given holds for all layers', async () => {
  const result = await quantized(true, 'activations.clip=0.8');
  expect(clippedOf(result)).toEqual([null, null, null]);
  const given = { input: 0.8, hidden: 0.8 };
  expect(result.layers.map(({ reference }) => reference.clips)).toEqual([given, given, given]);
});

test('a share that would clip nothing is refused, and so are activations that are no numbers', () => {
  for (const settings of [['scheme=w4a16'], ['scheme=w8a8'], ['target=qmoe']])
    expect(faultOf(() => givenClips(configFrom('activations.clip=0.8', ...settings))).code).toBe(
      'SCHEME_TARGET',
    );
  const errors = { input: Float64Array.of(1, 0.5), hidden: Float64Array.of(NaN, NaN) };
  expect(faultOf(() => bestClips('L7', errors))).toMatchObject({
    code: 'ACTIVATIONS_NOT_FINITE',
    where: 'layer L7',
  });
});

test('what clipping hardly helps is left whole', () => {
  const errors = { input: Float64Array.of(1, 0.995, 0.992), hidden: Float64Array.of(1, 0.9, 0.95) };
  expect(bestClips('L0', errors)).toEqual({
    layer: 'L0',
    clips: { input: 1, hidden: 0.95 },
    error: { input: 1, hidden: 0.9 },
  });
});
