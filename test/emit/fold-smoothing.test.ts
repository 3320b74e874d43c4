import { existsSync, globSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { floatExperts } from '../../src/emit/float-experts.ts';
import type { Folding } from '../../src/emit/fold-smoothing.ts';
import { foldSmoothing } from '../../src/emit/fold-smoothing.ts';
import { isFault } from '../../src/fault.ts';
import type { Expert, Linear, MoeLayer } from '../../src/moe/moe-layer.ts';
import type { PreparedModel } from '../../src/moe/prepare-model.ts';
import { prepareModel } from '../../src/moe/prepare-model.ts';
import type { LinearWeights } from '../../src/moe/read-expert.ts';
import { readLinear } from '../../src/moe/read-expert.ts';
import type { Model } from '../../src/onnx/model.ts';
import { openModel } from '../../src/onnx/open-model.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { scaleColumns, scaleRows } from '../../src/tensor/matrix.ts';
import type { TensorSource } from '../../src/tensor/source.ts';
import { tensorSource } from '../../src/tensor/source.ts';
import { vectorView } from '../../src/tensor/view.ts';
import { editConstant } from '../helpers/break-model.ts';
import { bundledModel, forms } from '../helpers/bundled.ts';
import { runModel } from '../helpers/run-model.ts';
import { normsApart } from '../moe/helpers/parts.ts';
import { randomFeeds } from '../moe/helpers/run-model.ts';
import { uniform } from '../quantize/random.ts';

const fixtures = join(import.meta.dirname, '../fixtures/graphs');
const zoo = process.env['MOEQ_ZOO'] ?? '';

/** Factors from 1/8 to 8. */
function randomScales(width: number, seed: number): Float32Array {
  const next = uniform(seed);
  return Float32Array.from({ length: width }, () => 8 ** (2 * next() - 1));
}

function stored(shape: number[], values: Float32Array): TensorSource {
  return tensorSource('float32', shape, encodeNumbers(values, 'float32'));
}

/** A linear that holds other numbers. */
function holding(linear: Linear, { weight, bias }: LinearWeights): Linear {
  const { rows, cols, data } = weight;
  return {
    ...linear,
    weight: { source: stored([rows, cols], data), rows, cols, offset: 0, rowStride: cols, colStride: 1 },
    bias: bias && { name: linear.bias!.name, view: vectorView(stored([rows], bias), rows) },
  };
}

/** An expert that reads an input divided by `input`, and whose hidden activations are divided by `hidden`. */
function smoothed(expert: Expert, input: Float32Array, hidden: Float32Array | null): Expert {
  const first = (linear: Linear): LinearWeights => {
    const weights = readLinear(linear);
    scaleColumns(weights.weight, input);
    return weights;
  };
  const [up, down] = [first(expert.up!), readLinear(expert.down!)];
  if (hidden) {
    const inverse = hidden.map((scale) => 1 / scale);
    scaleRows(up.weight, inverse);
    up.bias = up.bias && up.bias.map((value, r) => value * inverse[r]);
    scaleColumns(down.weight, hidden);
  }
  return {
    ...expert,
    gate: expert.gate && holding(expert.gate, first(expert.gate)),
    up: holding(expert.up!, up),
    down: holding(expert.down!, down),
  };
}

function foldLayer({ model }: PreparedModel, layer: MoeLayer, seed: number): Folding {
  const input = randomScales(layer.hidden, seed);
  const isProduct = layer.gated && layer.activation.limit === null && layer.activation.upOffset === 0;
  const hidden = isProduct ? randomScales(layer.intermediate, seed + 1) : null;
  const folding = foldSmoothing(model, layer, input);
  const experts = layer.experts.map((each) => (each.kind === 'ffn' ? smoothed(each, input, hidden) : each));
  emitLayer(model, layer, floatExperts({ ...layer, experts }));
  return folding;
}

/** How far the outputs move, relative to their norm, when every layer is smoothed in float; null where nothing can be. */
async function movement(
  source: string | (() => Model),
): Promise<{ gap: number; foldings: Folding[] } | null> {
  const open = (): string | Model => (typeof source === 'string' ? source : source());
  const prepared = preparedOf(open());
  if (!prepared) return null;
  const feeds = randomFeeds(prepared.model);
  const expected = await runModel(open(), feeds).catch(() => null);
  // Some published files do not run in ONNX Runtime on CPU.
  if (!expected) return null;
  const foldings = prepared.layers.map((layer, i) => foldLayer(prepared, layer, 10 * i + 1));
  prepared.model.graph.removeDeadCode();
  const actual = await runModel(prepared.model, feeds);
  const [name] = Object.keys(expected);
  return { gap: distance(actual[name], expected[name]), foldings };
}

function preparedOf(source: string | Model): PreparedModel | null {
  try {
    return prepareModel(source);
  } catch (error) {
    if (isFault(error) && ['MOE_NONE', 'MOE_NOT_QUANTIZABLE', 'OPSET_RAISE'].includes(error.code))
      return null;
    throw error;
  }
}

function distance(actual: readonly number[], expected: readonly number[]): number {
  let [error, norm] = [0, 2 ** -60];
  expected.forEach((value, i) => {
    error += (actual[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(error / norm);
}

/** Float rounding through a model of a few layers. */
const rounding = 1e-5;

describe('folding alone changes no output beyond float rounding', () => {
  test.each(forms)('bundled model, %s', async (form) => {
    const result = await movement(bundledModel(form));
    expect(result!.gap).toBeLessThan(rounding);
    expect(result!.foldings).toEqual(['folded', 'folded', 'folded']);
  });

  test.each(globSync('*.onnx', { cwd: fixtures }))('%s', async (file) => {
    const result = await movement(join(fixtures, file));
    expect(result?.gap ?? 0).toBeLessThan(rounding);
  });

  test('experts with a norm of their own beside the router', async () => {
    const result = await movement(normsApart);
    expect(result!.gap).toBeLessThan(rounding);
    expect(result!.foldings).toEqual(['folded']);
  });

  test('the fixtures hold layers that fold and layers that multiply', async () => {
    const results = await Promise.all(
      globSync('*.onnx', { cwd: fixtures }).map((file) => movement(join(fixtures, file))),
    );
    const foldings = new Set(results.flatMap((result) => result?.foldings ?? []));
    expect(foldings).toEqual(new Set(['folded', 'multiplied']));
  });
});

test('a gain that has no room for a scale is left alone', () => {
  const model = openModel(bundledModel('loop.dyn'));
  const [{ norm, hidden }] = prepareModel(bundledModel('loop.dyn')).layers;
  editConstant(model, norm!.scale!.name, (values) => (values[0] = 4));
  const prepared = prepareModel(model);
  const scales = new Float32Array(hidden).fill(1);
  scales[0] = 2 ** -127;
  expect(foldSmoothing(prepared.model, prepared.layers[0], scales)).toBe('multiplied');
  expect([...prepared.model.graph.constants].filter(({ name }) => name.endsWith('_smoothed'))).toEqual([]);
});

describe.skipIf(!existsSync(zoo))('in every graph of the zoo (set MOEQ_ZOO to its folder)', () => {
  test.each(globSync('{graphs,models}/**/*.onnx', { cwd: zoo }))('%s', async (file) => {
    const result = await movement(join(zoo, file));
    expect(result?.gap ?? 0).toBeLessThan(rounding);
  });
});
