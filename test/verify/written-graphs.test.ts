import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import type { LayerReference } from '../../src/emit/parity-references.ts';
import { collectReferences, withReference } from '../../src/emit/parity-references.ts';
import type { Target } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import { isFault } from '../../src/fault.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { Model } from '../../src/onnx/model.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { checkParity } from '../../src/verify/check-parity.ts';
import { parityChecks } from '../../src/verify/parity-checks.ts';
import { quantizeByRtn } from '../emit/expert-twin.ts';
import { randomFeeds } from '../moe/helpers/run-model.ts';

const fixtures = join(import.meta.dirname, '../fixtures/graphs');
const zoo = process.env['MOEQ_ZOO'] ?? '';
type Level = 'disabled' | 'basic' | 'extended' | 'all';
const pairs = [
  ['w8a8', 'int'],
  ['w4a4', 'int'],
  ['ternary-a8', 'int'],
  ['w4a4', 'qdq'],
  ['ternary', 'qdq'],
  ['w4a16', 'nbits'],
  ['ternary', 'packed'],
  ['w4a16', 'qmoe'],
] as const;

/** A graph with its experts written in another form, read back; null where it has none or the form cannot hold them. */
function written(
  path: string,
  scheme: SchemeName,
  target: Target,
): { model: Model; reference: LayerReference[] } | null {
  const resolved = resolveTarget({ scheme, target });
  try {
    const { model, layers } = prepareModel(path, resolved.opset);
    const reference = layers.map((layer) => {
      const form = { layer, resolved, rotation: noRotation };
      const { weightsOf, reference } = collectReferences(form, (expert) =>
        withReference(expert.id, form, quantizeByRtn(expert, resolved)),
      );
      emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf }));
      return reference;
    });
    model.graph.removeDeadCode();
    return { model: decodeModel(encodeModel(model), path), reference };
  } catch (error) {
    const expected = ['MOE_NONE', 'MOE_NOT_QUANTIZABLE', 'SCHEME_TARGET', 'OPSET_RAISE'];
    if (isFault(error) && expected.includes(error.code)) return null;
    throw error;
  }
}

type Feeds = Record<string, ort.Tensor>;

async function run(model: Model | string, feeds: Feeds, level: Level): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(
    typeof model === 'string' ? model : (encodeModel(model) as never),
    {
      graphOptimizationLevel: level,
      logSeverityLevel: 3,
    },
  );
  try {
    const [first] = session.outputNames;
    return Float32Array.from((await session.run(feeds, [first]))[first].data as Float32Array, Number);
  } finally {
    await session.release();
  }
}

/** The same feeds cut down to one record of one token, where the model leaves its sizes open. */
function oneToken(model: Model, feeds: Feeds): Feeds {
  return Object.fromEntries(
    model.graph.inputs
      .filter(({ name }) => feeds[name])
      .map(({ name, shape }) => {
        const { type, data, dims } = feeds[name];
        const small = dims.map((dim, i) => (typeof shape?.[i] === 'number' || dim === 0 ? dim : 1));
        const count = small.reduce((product, dim) => product * dim, 1);
        return [name, new ort.Tensor(type as 'float32', (data as Float32Array).slice(0, count), small)];
      }),
  );
}

function distance(actual: Float32Array, expected: Float32Array): number {
  let [error, norm] = [0, 2 ** -60];
  expected.forEach((value, i) => {
    error += (actual[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(error / norm);
}

/** What is wrong with a graph's written forms: parity, every optimization level, two shapes, and against the source. */
async function problemsOf(path: string, compared: readonly Level[]): Promise<string[]> {
  const problems: string[] = [];
  // Nothing is smoothed here: outliers leave the other channels few codes, and rounding differences weigh more.
  const slack = path.includes('-outliers') ? 4 : 1;
  for (const [scheme, target] of pairs) {
    const result = written(path, scheme, target);
    if (!result) continue;
    const note = (problem: string): number => problems.push(`${scheme} ${target}: ${problem}`);
    await checkParity(result.model, parityChecks(result.reference)).catch((error: Error) =>
      note(error.message),
    );
    const feeds = randomFeeds(result.model);
    const source = await run(path, feeds, 'all').catch(() => null);
    // Some published files do not run in ONNX Runtime on CPU; their linears were checked for parity.
    if (!source) continue;
    for (const each of [feeds, oneToken(result.model, feeds)]) {
      const plain = await run(result.model, each, 'disabled');
      if (!plain.every(Number.isFinite)) note('a value is not finite');
      for (const level of compared) {
        const gap = distance(await run(result.model, each, level), plain);
        // A rounding difference in front of an expert may move a token to the next code.
        if (!(gap < 0.1 * slack)) note(`level ${level} differs by ${gap}`);
      }
    }
    if (scheme !== 'w8a8') continue;
    const gap = distance(await run(result.model, feeds, 'all'), source);
    if (!(gap < 0.05 * slack)) note(`it differs from the source by ${gap}`);
  }
  return problems;
}

test.each(globSync('*.onnx', { cwd: fixtures }))('%s is right in every form', async (file) => {
  expect(await problemsOf(join(fixtures, file), ['all'])).toEqual([]);
});

describe.skipIf(!existsSync(zoo))(
  'every graph of the zoo (set MOEQ_ZOO to its folder) is right in every form',
  () => {
    test.each(globSync('{graphs,models}/**/*.onnx', { cwd: zoo }))('%s', async (file) => {
      expect(await problemsOf(join(zoo, file), ['basic', 'extended', 'all'])).toEqual([]);
    });
  },
);
