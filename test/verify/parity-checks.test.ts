import { expect, test } from 'vitest';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import type { ExpertReference, LayerReference, LinearRows } from '../../src/emit/parity-references.ts';
import type { Target } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { matrix } from '../../src/tensor/matrix.ts';
import { parityChecks, parityTolerance } from '../../src/verify/parity-checks.ts';
import { syntheticLayer } from '../helpers/synthetic-layer.ts';

const rows = (value: number): LinearRows => ({
  rows: matrix(4, 1, new Float32Array(4).fill(value)),
  bias: null,
  least: 0,
  usual: 0,
});

/** References of two experts, whose rows tell where they are from. */
function referenceOf(target: Target, scheme: SchemeName, gated = true): LayerReference {
  const { layer } = syntheticLayer({ hidden: 48, intermediate: 32, gated });
  const expert = (index: number): ExpertReference => ({
    id: `L0.E${index}`,
    gate: gated ? rows(10 * index + 1) : null,
    up: rows(10 * index + 2),
    down: rows(10 * index + 3),
    whole: target === 'qmoe' ? rows(10 * index + 4) : null,
  });
  const resolved = resolveTarget({ scheme, target });
  return { layer, resolved, rotation: noRotation, experts: [expert(0), expert(1)], router: null };
}

const summary = (reference: LayerReference, mostWeights?: number) =>
  parityChecks([reference], [], mostWeights).map(({ experts, exactKernels, tolerance, expected }) => [
    `${experts.first}/${experts.of}`,
    exactKernels,
    tolerance,
    ...expected.map(
      ({ part, rows: all }) => `${part} ${all.map(({ id, rows: { data } }) => `${id}=${data[0]}`).join(' ')}`,
    ),
  ]);

test('every linear of every expert is run once by an exact kernel', () => {
  expect(summary(referenceOf('int', 'w4a4'))).toEqual([
    ['0/2', false, 1e-5, 'gate L0.E0=1 L0.E1=11', 'up L0.E0=2 L0.E1=12'],
    ['0/2', false, 1e-5, 'down L0.E0=3 L0.E1=13'],
  ]);
  const [{ layer }] = parityChecks([referenceOf('int', 'w4a4')]);
  expect(layer).toEqual({ id: 'L0', hidden: 48, intermediate: 32 });
});

test('MatMulNBits is run exactly, and as it is written', () => {
  expect(summary(referenceOf('nbits', 'w4a16', false))).toEqual([
    ['0/2', true, 1e-5, 'up L0.E0=2 L0.E1=12'],
    ['0/2', false, 2e-2, 'up L0.E0=2 L0.E1=12'],
    ['0/2', true, 1e-5, 'down L0.E0=3 L0.E1=13'],
    ['0/2', false, 2e-2, 'down L0.E0=3 L0.E1=13'],
  ]);
});

test('experts are run by so many as have no more weights than may be in memory, or one by one', () => {
  const both = 2 * 2 * 48 * 32;
  expect(summary(referenceOf('int', 'w4a4'), both)).toHaveLength(2);
  expect(summary(referenceOf('int', 'w4a4'), both - 1)).toEqual([
    ['0/2', false, 1e-5, 'gate L0.E0=1', 'up L0.E0=2'],
    ['1/2', false, 1e-5, 'gate L0.E1=11', 'up L0.E1=12'],
    ['0/2', false, 1e-5, 'down L0.E0=3 L0.E1=13'],
  ]);
  expect(summary(referenceOf('int', 'w4a4'), 1)).toHaveLength(4);
  expect(summary(referenceOf('qmoe', 'w4a16'), 1)).toHaveLength(1);
});

test('the fused operator is run whole', () => {
  expect(summary(referenceOf('qmoe', 'w4a16'))).toEqual([['0/2', false, 1e-4, 'whole L0.E0=4 L0.E1=14']]);
});

test.each([
  [{ input: null, hidden: 32 }, 1e-2],
  [{ input: 16, hidden: null }, 1e-2],
  [noRotation, 1e-5],
])('behind a rotation of %o values may be off by %d', (rotation, tolerance) => {
  const checks = parityChecks([{ ...referenceOf('int', 'w4a4'), rotation }]);
  expect(checks.map((check) => check.tolerance)).toEqual([tolerance, tolerance]);
});

test('a router in 8 bits and linears beside the experts are run alone', () => {
  const router = {
    id: 'L0/router',
    resolved: resolveTarget({ scheme: 'w8a8', target: 'int' }),
    width: 48,
    ...rows(5),
  };
  const head = {
    id: 'dense/head',
    resolved: resolveTarget({ scheme: 'w8a8', target: 'nbits' }),
    width: 48,
    ...rows(6),
  };
  const checks = parityChecks([{ ...referenceOf('int', 'w4a4'), router }], [head]);
  expect(checks.slice(2)).toEqual([
    {
      layer: { id: 'L0/router', hidden: 48, intermediate: 0 },
      experts: { first: 0, of: 0 },
      exactKernels: false,
      tolerance: 1e-5,
      expected: [{ part: 'alone', rows: [{ id: 'L0/router', ...rows(5) }] }],
    },
    ...[true, false].map((exactKernels) => ({
      layer: { id: 'dense/head', hidden: 48, intermediate: 0 },
      experts: { first: 0, of: 0 },
      exactKernels,
      tolerance: parityTolerance('nbits', 8, exactKernels),
      expected: [{ part: 'alone', rows: [{ id: 'dense/head', ...rows(6) }] }],
    })),
  ]);
});

test('checks are plain data, which any thread can be handed', () => {
  const checks = parityChecks([referenceOf('nbits', 'w4a16')]);
  expect(structuredClone(checks)).toEqual(checks);
});
