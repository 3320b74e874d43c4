import { expect, test } from 'vitest';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import type { QuantizedModel } from '../../src/pipeline/quantize-model.ts';
import { quantizeModel } from '../../src/pipeline/quantize-model.ts';
import type { ClippedLayer } from '../../src/pipeline/trials/clips.ts';
import { checksOf } from '../../src/pipeline/write-experts.ts';
import { checkParity } from '../../src/verify/check-parity.ts';
import { bundledModel, bundledRecords, calibrationData, configFrom } from '../helpers/bundled.ts';

const path = bundledModel('loop.dyn');
const data = { records: bundledRecords(calibrationData, 12), pool: [] };
const settings = [
  'rounding.method=rtn',
  'calibration.balance.enabled=false',
  'rotation.down=none',
  'router.realign=false',
];

function quantized(...more: string[]): Promise<QuantizedModel> {
  return quantizeModel(path, data, configFrom(...settings, ...more));
}

/** What is measured in the first layer, which all runs feed the same. */
function firstOf({ layers }: QuantizedModel): ClippedLayer {
  return layers[0].clipped!;
}

test('layer by layer as at once, a layer is clipped where that leaves least error', async () => {
  const atOnce = await quantized();
  const byLayer = await quantized('calibration.byLayer=always');
  const inSequence = await quantized('calibration.sequential=true');
  for (const each of [byLayer, inSequence]) {
    expect(each.layers.map(({ clipped }) => clipped!.layer)).toEqual(['L0', 'L1', 'L2']);
    expect(firstOf(each).clips).toEqual(firstOf(atOnce).clips);
    expect(firstOf(each).error.input).toBeCloseTo(firstOf(atOnce).error.input, 5);
    const file = decodeModel(encodeModel(each.model), path);
    await expect(checkParity(file, checksOf(each))).resolves.toBeUndefined();
  }
  expect(firstOf(atOnce).clips.input).toBeLessThan(1);
});
