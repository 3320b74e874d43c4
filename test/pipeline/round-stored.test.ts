import { serialize } from 'node:v8';
import { expect, test } from 'vitest';
import type { Expert } from '../../src/moe/moe-layer.ts';
import { readExpert } from '../../src/moe/read-expert.ts';
import { roundStored } from '../../src/pipeline/layer/round-stored.ts';
import type { Rounding } from '../../src/pipeline/layer/rounding.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { tensorSource } from '../../src/tensor/source.ts';
import type { MatrixView } from '../../src/tensor/view.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';

const rounding =
  (inSteps: boolean): Rounding =>
  async (weight) =>
    quantizeRtn(weight, { bits: 4, groupSize: 32, inSteps });
const round = rounding(false);

/** More than one strip of a megabyte, the last one short. */
const [rows, cols] = [300, 1024];

const stored = (values: Float32Array, shape: number[]): MatrixView['source'] =>
  tensorSource('float32', shape, encodeNumbers(values, 'float32'));

/** gate and up in alternate rows of one tensor, as fused checkpoints have them; down as [in, out]. */
function expertOf(edit: (values: Float32Array) => void = () => {}): Expert {
  const both = gaussian(2 * rows, cols, 1).data;
  edit(both);
  const fused = stored(both, [2 * rows, cols]);
  const half = { source: fused, rows, cols, rowStride: 2 * cols, colStride: 1 };
  const across = stored(gaussian(cols, rows, 2).data, [cols, rows]);
  const [expert] = syntheticLayer({ hidden: cols, intermediate: rows, bias: true }).layer.experts;
  return {
    ...expert,
    gate: { ...expert.gate!, weight: { ...half, offset: 0 } },
    up: { ...expert.up!, weight: { ...half, offset: cols } },
    down: {
      ...expert.down!,
      weight: { source: across, rows, cols, offset: 0, rowStride: 1, colStride: rows },
    },
  };
}

test.each([false, true])(
  'strip by strip weights are rounded as whole ones, in steps: %s',
  async (inSteps) => {
    const round = rounding(inSteps);
    const expert = expertOf();
    const { gate, up, down } = await roundStored(expert, round);
    const whole = readExpert(expert);
    for (const part of ['gate', 'up', 'down'] as const) {
      const { weight, bias } = whole[part]!;
      const expected = { weight: await round(weight, null), bias };
      expect(serialize({ gate, up, down }[part]).equals(serialize(expected))).toBe(true);
    }
  },
);

test('an expert without gate has none', async () => {
  expect((await roundStored({ ...expertOf(), gate: null }, round)).gate).toBeNull();
});

test('a number that is none is told by its place in the tensor of the model', async () => {
  const fused = expertOf((values) => (values[2 * 290 * cols + 7] = NaN));
  await expect(roundStored(fused, round)).rejects.toMatchObject({
    code: 'WEIGHT_NOT_FINITE',
    where: `expert ${fused.id}, gate: tensor ${fused.gate!.name}, element [580, 7]`,
    remedy: expect.stringContaining('export the model again') as string,
  });
  const across = expertOf();
  const values = gaussian(cols, rows, 2).data;
  values[3 * rows + 5] = Infinity;
  const down = { ...across.down!, weight: { ...across.down!.weight, source: stored(values, [cols, rows]) } };
  await expect(roundStored({ ...across, down }, round)).rejects.toMatchObject({
    where: `expert ${across.id}, down: tensor ${down.name}, element [3, 5]`,
  });
});
