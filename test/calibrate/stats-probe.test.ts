import { expect, test } from 'vitest';
import { calibrate } from '../../src/calibrate/calibrate.ts';
import { makeBatches } from '../../src/data/batches.ts';
import { declaredInputs } from '../../src/data/model-input.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import { bundledModel, bundledRecords, calibrationData } from '../helpers/bundled.ts';

const path = bundledModel('batched.dyn');

test.each([NaN, Infinity])(
  'statistics that are no numbers are refused: a norm that holds %d',
  async (value) => {
    const open = (): ReturnType<typeof prepareModel> => {
      const prepared = prepareModel(path);
      const { node, input } = prepared.layers[1].norm!.scale!;
      const constant = node.inputs[input]!;
      const [channels] = constant.tensor!.source.shape;
      const data = new Float32Array(channels).fill(1).with(3, value);
      constant.tensor = makeTensor(constant.name, 'float32', [channels], new Uint8Array(data.buffer));
      return prepared;
    };
    const batches = [...makeBatches(bundledRecords(calibrationData, 4), declaredInputs(open().model))];
    await expect(calibrate(open, batches, { gram: false, affinity: false })).rejects.toMatchObject({
      code: 'ACTIVATIONS_NOT_FINITE',
      where: expect.stringContaining('L1') as string,
    });
  },
);
