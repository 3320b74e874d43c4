import { existsSync, globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { locate } from '../../src/moe/locate.ts';
import type { MoeLayer } from '../../src/moe/moe-layer.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { readMatrix } from '../../src/tensor/view.ts';
import { replayError, replayValues } from './helpers/replay.ts';
import { randomFeeds, valuesOf } from './helpers/run-model.ts';

const fixtures = join(import.meta.dirname, '../fixtures/graphs');
const zoo = process.env.MOEQ_ZOO ?? '';

/** Runs a model; gives the error of the replay of every layer that can be written anew. */
async function replayErrors(path: string): Promise<number[]> {
  const model = openModel(path);
  const layers = locate(model).layers.filter(({ quantizable }) => quantizable);
  if (layers.length === 0) return [];
  const wanted = layers.flatMap(({ boundary }) => replayValues(boundary!));
  const values = await valuesOf(model, wanted, randomFeeds(model));
  return layers.map((layer) => replayError(layer, values));
}

const fixtureTruth = Object.entries(
  JSON.parse(readFileSync(join(fixtures, 'truth.json'), 'utf8')) as Record<string, { replayed: number }>,
);

describe('the recorded parts alone give the output of the layer', () => {
  it.each(fixtureTruth)('%s', async (file, { replayed }) => {
    const errors = await replayErrors(join(fixtures, file));
    expect(errors).toHaveLength(replayed);
    expect(Math.max(0, ...errors)).toBeLessThan(1e-5);
  });
});

describe.skipIf(!existsSync(join(zoo, 'graphs')))(
  'the same for every graph of the zoo (set MOEQ_ZOO to its folder)',
  () => {
    it.each(globSync('{graphs/*,models/*/*}.onnx', { cwd: zoo }))('%s', async (file) => {
      expect(Math.max(0, ...(await replayErrors(join(zoo, file))))).toBeLessThan(1e-5);
    });
  },
);

describe.skipIf(!existsSync(join(zoo, 'models')))(
  'the forms of one model (set MOEQ_ZOO to the folder of the zoo)',
  () => {
    it('hold the same experts to the bit, in the same order', () => {
      const folder = join(zoo, 'models/tasks-olmoe');
      const forms = ['loop.ts', 'loop.dyn', 'batched.dyn', 'grouped.hf'].map(
        (form) => locate(openModel(join(folder, `${form}.onnx`))).layers,
      );
      const [reference, ...others] = forms;
      expect(reference.map(({ experts }) => experts.length)).toEqual([16, 16, 16]);
      for (const layers of others) {
        layers.forEach((layer, at) => expect(matricesOf(layer)).toEqual(matricesOf(reference[at])));
      }
    });
  },
);

function matricesOf({ experts, router }: MoeLayer): unknown {
  return {
    router: readMatrix(router.linear!.weight),
    experts: experts.map(({ index, gate, up, down }) => [
      index,
      ...[gate, up, down].map((each) => readMatrix(each!.weight)),
    ]),
  };
}
