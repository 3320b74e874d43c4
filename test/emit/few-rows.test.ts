import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Model } from '../../src/onnx/model.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import type { SessionOptions } from '../../src/runtime/session.ts';
import type { Matrix } from '../../src/tensor/matrix.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian } from '../quantize/random.ts';
import { quantizeByRtn } from './expert-twin.ts';
import { pretendProcessor } from './pretend-processor.ts';
import { feedsOf, randomRoutes, runOnce } from './run-layer.ts';

function written(
  scheme: SchemeName,
  hidden: number,
  intermediate: number,
  { fewRowsAbove = 0, experts = 3 } = {},
): [Model, LayerSpec] {
  const { model, layer, spec } = syntheticLayer({ hidden, intermediate, experts });
  const resolved = resolveTarget({ scheme, target: 'int' });
  const weightsOf = (expert: (typeof layer.experts)[number]) => quantizeByRtn(expert, resolved);
  raiseOpset(model, resolved.opset);
  emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf, fewRowsAbove }));
  model.graph.removeDeadCode();
  return [model, spec];
}

function repeated({ rows, cols, data }: Matrix, times: number): Matrix {
  return matrix(
    rows * times,
    cols,
    Float32Array.from({ length: times * data.length }, (_, i) => data[i % data.length]),
  );
}

/** The first tokens' results when they are alone, and when they come many times over. */
async function bothWays(
  model: Model,
  spec: LayerSpec,
  x: Matrix,
  options: SessionOptions = {},
): Promise<[Float32Array, Float32Array]> {
  const routes = randomRoutes(spec, x.rows);
  const all = Array.from({ length: 20 }, () => routes).flat();
  const few = await runOnce(model, feedsOf(spec, x, routes), options);
  const many = await runOnce(model, feedsOf(spec, repeated(x, 20), all), options);
  return [few['y'].data, many['y'].data.subarray(0, x.data.length)];
}

describe('a token gets the same numbers, to the bit, alone and among many', () => {
  const schemes = ['w4a4', 'w4a8', 'w3a3', 'ternary-a8', 'ternary-a4'] as const;
  // Less than a block, whole blocks, and a last block of few channels.
  const widths = [
    [32, 124],
    [512, 256],
    [1024, 516],
  ] as const;
  test.each(schemes.flatMap((scheme) => widths.map((width) => [scheme, ...width] as const)))(
    'with scheme %s and %i by %i channels',
    async (scheme, hidden, intermediate) => {
      const [model, spec] = written(scheme, hidden, intermediate);
      pretendProcessor(model, false, scheme.startsWith('ternary') ? 0 : 1);
      const [few, many] = await bothWays(model, spec, gaussian(4, hidden, 9));
      expect(Math.max(...few)).toBeGreaterThan(0);
      expect(few).toEqual(many);
    },
  );

  test.each(['disabled', 'basic', 'extended'] as const)('at optimization level %s', async (optimization) => {
    const [model, spec] = written('w4a4', 272, 256);
    // Without optimization the constant that tells what gains is computed at every run.
    pretendProcessor(model, false, 1);
    const [few, many] = await bothWays(model, spec, gaussian(4, 272, 9), { optimization });
    expect(few).toEqual(many);
  });

  test('among many experts, most of them idle', async () => {
    const [model, spec] = written('w4a4', 512, 260, { experts: 20 });
    pretendProcessor(model, false, 1);
    const [few, many] = await bothWays(model, spec, gaussian(4, 512, 9));
    expect(few).toEqual(many);
  });

  test('when all activations are at one end of their range', async () => {
    const [model, spec] = written('w4a8', 1024, 1024);
    pretendProcessor(model, false, 1);
    const [few, many] = await bothWays(model, spec, matrix(1, 1024, new Float32Array(1024).fill(-3)));
    expect(few).toEqual(many);
  });
});

test('the operator set of its products is imported, although they stand in a branch', () => {
  const [model] = written('w4a4', 64, 64);
  expect(model.graph.nodes.some(({ domain }) => domain === 'com.microsoft')).toBe(false);
  expect(model.opsets.get('com.microsoft')).toBe(1);
});

test.each([
  ['w4a4', false, true],
  ['w4a4', true, false],
  ['ternary-a8', true, true],
] as const)(
  'codes of %s are read packed where that gains (saturates: %s): %s',
  async (scheme, saturates, isPacked) => {
    const [model, spec] = written(scheme, 32, 64);
    if (scheme === 'w4a4') pretendProcessor(model, saturates, 1);
    for (const value of model.graph.constants)
      if (/E\d\/places/.test(value.name)) {
        const { dtype, shape } = value.tensor!.source;
        value.tensor = makeTensor(value.name, dtype, shape, new Uint8Array(shape[1]).fill(1));
      }
    const [few, many] = await bothWays(model, spec, gaussian(4, 32, 9));
    // The packed weights are wrong now.
    expect(few.some((value, i) => value !== many[i])).toBe(isPacked);
  },
);

test.each([
  ['for rows that are no whole bytes', 'w4a4', 37, 0],
  ['up to the given size', 'w4a4', 64, 64 * 64],
] as const)('there is one way only %s', (_name, scheme, width, fewRowsAbove) => {
  const [model] = written(scheme, width, width, { fewRowsAbove });
  expect(model.graph.nodes.map(({ opType }) => opType)).not.toContain('If');
});
