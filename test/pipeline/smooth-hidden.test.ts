import { describe, expect, test } from 'vitest';
import type { ExpertStats } from '../../src/calibrate/layer-stats.ts';
import type { ExpertWeights } from '../../src/moe/read-expert.ts';
import type { HiddenSmoothing } from '../../src/pipeline/layer/smooth-hidden.ts';
import { fewestSmoothed, smoothHidden } from '../../src/pipeline/layer/smooth-hidden.ts';
import { settledBy } from '../../src/pipeline/layer/variant.ts';
import { variantsTried } from '../../src/pipeline/trials/variants-tried.ts';
import { gemm } from '../../src/tensor/gemm.ts';
import { columnAbsMax, transpose } from '../../src/tensor/matrix.ts';
import { configFrom } from '../helpers/bundled.ts';
import { silu } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';

const [hidden, intermediate, tokens] = [8, 16, 40];
const h = gaussian(tokens, intermediate, 1);
h.data.forEach((value, i) => (h.data[i] = value * (1 + (i % intermediate))));

const linear = (rows: number, cols: number, seed: number) => ({
  weight: gaussian(rows, cols, seed),
  bias: null,
});
const weights: ExpertWeights = {
  gate: linear(intermediate, hidden, 2),
  up: linear(intermediate, hidden, 3),
  down: linear(hidden, intermediate, 4),
};
const stats: ExpertStats = {
  id: 'L0.E0',
  tokens,
  mass: tokens,
  inputMean: new Float32Array(hidden),
  input: { absMax: new Float32Array(hidden), gram: null },
  hidden: { absMax: columnAbsMax(h), gram: gemm(transpose(h), h).data },
};

async function smoothed(block: number | null, ...settings: string[]): Promise<HiddenSmoothing> {
  const config = configFrom(...settings);
  return smoothHidden(weights, stats, {
    activation: silu,
    config: settledBy(config, variantsTried(config, false)[0]),
    rotation: { input: null, hidden: block },
  });
}

describe('smoothHidden', () => {
  test('auto is the scales of least error before a rotation, given GPTQ, and SmoothQuant elsewhere', async () => {
    const [error, smoothquant] = await Promise.all(
      ['error', 'smoothquant'].map((kind) => smoothed(16, `smoothing.down=${kind}`)),
    );
    expect(error.scales).not.toEqual(smoothquant.scales);
    expect((await smoothed(16)).scales).toEqual(error.scales);
    expect((await smoothed(null)).scales).toEqual(smoothquant.scales);
    expect((await smoothed(16, 'rounding.method=rtn')).scales).toEqual(smoothquant.scales);
  });

  test('without compensation a weight is charged with all of the energy of its channel', async () => {
    const rtn = await smoothed(16, 'smoothing.down=error', 'rounding.method=rtn');
    expect(rtn.scales).not.toEqual((await smoothed(16)).scales);
  });

  test('few tokens are no ground for scales', async () => {
    const settings = {
      activation: silu,
      config: settledBy(configFrom(), variantsTried(configFrom(), false)[0]),
      rotation: { input: null, hidden: null },
    };
    const scalesOf = async (count: number): Promise<Float32Array | null> =>
      (await smoothHidden(weights, { ...stats, tokens: count }, settings)).scales;
    expect(await scalesOf(fewestSmoothed)).not.toBeNull();
    expect(await scalesOf(fewestSmoothed - 1)).toBeNull();
  });

  test('there are none where they are not wanted, or where up cannot make up for them', async () => {
    expect((await smoothed(16, 'smoothing.down=off')).scales).toBeNull();
    expect((await smoothed(16, 'smoothing.enabled=false')).scales).toBeNull();
    const config = configFrom();
    const settings = {
      config: settledBy(config, variantsTried(config, false)[0]),
      rotation: { input: null, hidden: 16 },
    };
    const clamped = await smoothHidden(weights, stats, { activation: { ...silu, limit: 7 }, ...settings });
    expect(clamped.scales).toBeNull();
    const relu = { ...silu, name: 'relu', limit: 7 } as const;
    const cut = await smoothHidden({ ...weights, gate: null }, stats, { activation: relu, ...settings });
    expect(cut.scales).toBeNull();
  });

  test('neurons are dealt to blocks where there are several', async () => {
    expect((await smoothed(16)).neurons).toBeNull();
    expect((await smoothed(null)).neurons).toBeNull();
    expect((await smoothed(4, 'rotation.permute=none')).neurons).toBeNull();
    const order = (await smoothed(4)).neurons!;
    expect([...order].toSorted((a, b) => a - b)).toEqual(Array.from({ length: intermediate }, (_, i) => i));
  });
});
