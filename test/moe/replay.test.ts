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

/** Runs a model and compares every layer that can be written anew with its replay. */
async function replay(path: string): Promise<MoeLayer[]> {
  const model = openModel(path);
  const layers = locate(model).layers.filter(({ quantizable }) => quantizable);
  if (layers.length === 0) return layers;
  const values = await valuesOf(
    model,
    layers.flatMap(({ boundary }) => replayValues(boundary!)),
    randomFeeds(model),
  );
  for (const layer of layers) expect(replayError(layer, values), `${path} ${layer.id}`).toBeLessThan(1e-5);
  return layers;
}

describe('the recorded parts alone give the output of the layer', () => {
  for (const file of globSync('**/*.onnx', { cwd: fixtures })) {
    it(file, async () => {
      const truth = JSON.parse(readFileSync(join(fixtures, 'truth.json'), 'utf8')) as Record<
        string,
        { replayed: number }
      >;
      expect(await replay(join(fixtures, file))).toHaveLength(truth[file].replayed);
    });
  }
});

describe.skipIf(!existsSync(join(zoo, 'graphs')))(
  'the same for every graph of the zoo (set MOEQ_ZOO to its folder)',
  () => {
    for (const file of globSync('{graphs,models}/**/*.onnx', { cwd: zoo }))
      it(file, async () => void (await replay(join(zoo, file))));
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
