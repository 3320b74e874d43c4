import { describe, expect, test } from 'vitest';
import type { Variant } from '../../src/pipeline/layer/variant.ts';
import { variantName } from '../../src/pipeline/layer/variant.ts';
import type { Distance } from '../../src/pipeline/trials/gauge.ts';
import { bandsOf, settleVariants } from '../../src/pipeline/trials/settle-variants.ts';
import { configFrom } from '../helpers/bundled.ts';

const all = ['none', 'hadamard', 'hadamard, affinity'];

test('bands are narrow near the output and few in deep models', () => {
  expect(bandsOf(1)).toEqual([[0, 1]]);
  expect(bandsOf(4)).toEqual([
    [3, 4],
    [2, 3],
    [0, 2],
  ]);
  expect(bandsOf(48).map(([start, end]) => end - start)).toEqual([1, 1, 2, 4, 8, 16, 16]);
});

const layers = ['L0', 'L1', 'L2'];

/** Settles by distances that are made up; notes what was tried. */
async function settle(
  distanceOf: (names: string[]) => Distance,
  ...settings: string[]
): Promise<{ settled: string[]; trials: string[] }> {
  const trials: string[] = [];
  const measure = async (variants: readonly Variant[]): Promise<Distance> => {
    const names = variants.map(variantName);
    trials.push(names.join());
    return distanceOf(names);
  };
  const settled = await settleVariants(
    configFrom(...settings),
    { layers, hasRecords: true },
    { distanceOf: measure },
  );
  return { settled: settled.map(variantName), trials };
}

/** The last layer decides about the output, the others about routers, and each wants something else. */
const asked = ([first, second, last]: string[]): Distance => ({
  divergence: last === 'none' ? 1 : 2,
  rerouted: ((first === 'hadamard' ? 1 : 2) + (second === 'hadamard, affinity' ? 1 : 1.5)) / 100,
});

describe('what comes nearest to the reference is taken', () => {
  test('everywhere, where it is best for output and routers, whatever its place', async () => {
    for (const nearest of all) {
      const { settled, trials } = await settle((names) => {
        const wrong = names.filter((name) => name !== nearest).length;
        return { divergence: 1 + wrong, rerouted: (1 + wrong) / 100 };
      });
      expect(settled).toEqual([nearest, nearest, nearest]);
      expect(trials).toHaveLength(all.length);
    }
  });

  test('in each layer, where the output and the routers are for different ones', async () => {
    const { settled } = await settle(asked);
    expect(settled).toEqual(['hadamard', 'hadamard, affinity', 'none']);
  });

  test('everywhere the same, where layers were calibrated on what rotated ones give', async () => {
    const { settled } = await settle(asked, 'calibration.sequential=true');
    expect(new Set(settled).size).toBe(1);
  });
});
