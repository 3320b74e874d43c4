import { describe, expect, test } from 'vitest';
import { emitLayer } from '../../src/emit/emit-layer.ts';
import { emitterFor } from '../../src/emit/emitter-for.ts';
import type { QuantizedExpert, QuantizedLinear } from '../../src/emit/expert-emitter.ts';
import type { RotationBlocks } from '../../src/emit/forms/rotated-form.ts';
import { noRotation } from '../../src/emit/forms/rotated-form.ts';
import type { DenseScheme } from '../../src/emit/linears/quantize-dense.ts';
import { quantizeDense } from '../../src/emit/linears/quantize-dense.ts';
import type { LayerReference, LinearReference } from '../../src/emit/parity-references.ts';
import { collectReferences, parityInput, withReference } from '../../src/emit/parity-references.ts';
import type { Target, TargetRequest } from '../../src/emit/resolve-target.ts';
import { resolveTarget } from '../../src/emit/resolve-target.ts';
import type { Model } from '../../src/onnx/model.ts';
import { decodeModel } from '../../src/onnx/open-model.ts';
import { raiseOpset } from '../../src/onnx/raise-opset.ts';
import { encodeModel } from '../../src/onnx/save-model.ts';
import { makeTensor } from '../../src/onnx/tensor.ts';
import { dequantize } from '../../src/quantize/quantized-tensor.ts';
import { quantizeRtn } from '../../src/quantize/rtn.ts';
import { safeScale } from '../../src/quantize/scale-fit.ts';
import type { SchemeName } from '../../src/quantize/scheme.ts';
import { timesCodes } from '../../src/quantize/times-codes.ts';
import { checkParity } from '../../src/verify/check-parity.ts';
import { parityChecks } from '../../src/verify/parity-checks.ts';
import { quantizeByRtn } from '../emit/expert-twin.ts';
import { makeModel } from '../helpers/make-model.ts';
import type { LayerSpec } from '../helpers/synthetic-layer.ts';
import { silu, syntheticLayer } from '../helpers/synthetic-layer.ts';
import { gaussian, uniform } from '../quantize/random.ts';

/** A written layer, read back, with the reference taken on the way. */
function written(
  target: Target,
  scheme: SchemeName,
  spec: Partial<LayerSpec> = {},
  rotation = noRotation,
  activations: NonNullable<TargetRequest['activations']> = { block: 'auto' },
  change: (weights: QuantizedExpert) => QuantizedExpert = (weights) => weights,
): [Model, LayerReference] {
  const { model, layer } = syntheticLayer({ hidden: 64, intermediate: 32, ...spec });
  const resolved = resolveTarget({ scheme, target, activations });
  const form = { layer, resolved, rotation };
  const { weightsOf, reference } = collectReferences(form, (expert) =>
    withReference(expert.id, form, change(quantizeByRtn(expert, resolved))),
  );
  raiseOpset(model, resolved.opset);
  const options = { layer, weightsOf, rotation, fewRowsAbove: 0 };
  emitLayer(model, layer, emitterFor(resolved, options));
  model.graph.removeDeadCode();
  return [decodeModel(encodeModel(model), 'written.onnx'), reference];
}

function emptied({ gate, up, down, shift }: QuantizedExpert): QuantizedExpert {
  return { shift, gate: gate && zeros(gate), up: zeros(up), down: zeros(down) };
}

/** What rounding makes of a linear of zeros. */
function zeros({ weight, bias }: QuantizedLinear): QuantizedLinear {
  const { codes, scales } = weight;
  const scale = safeScale(0);
  return { weight: { ...weight, codes: codes.map(() => 0), scales: scales.map(() => scale) }, bias };
}

const pairs = [
  ['int', 'w4a4'],
  ['int', 'ternary-a8'],
  ['qdq', 'w4a4'],
  ['qdq', 'ternary'],
  ['nbits', 'w4a16'],
  ['nbits', 'w8a8'],
  ['nbits', 'w2a4'],
  ['packed', 'ternary'],
  ['packed', 'ternary-a4'],
  ['qmoe', 'w4a16'],
  ['qmoe', 'ternary'],
] as const;

describe('a written layer has parity', () => {
  test.each(pairs)('as %s %s', async (target, scheme) => {
    const [model, reference] = written(target, scheme);
    const before = encodeModel(model);
    await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
    expect(encodeModel(model)).toEqual(before);
  });

  test.each([
    ['ungated gelu', { gated: false, activation: { ...silu, name: 'gelu' } }],
    ['two linears in a row', { gated: false, activation: { ...silu, name: 'identity' } }],
    ['biases', { bias: true }],
    ['routing weights on the input', { appliesTo: 'input' }],
  ] satisfies [string, Partial<LayerSpec>][])('with %s', async (_name, spec) => {
    const [model, reference] = written('int', 'w4a4', spec);
    await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
  });

  // Experts are pruned so. Kernels that add up in floats make no exact zero of them.
  test.each(pairs)('as %s %s with experts of zeros', async (target, scheme) => {
    const [model, reference] = written(target, scheme, {}, noRotation, undefined, emptied);
    await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
  });
});

/** Signs [64] whose sums with each row of the parity input are less than a fifth of what they usually are. */
function cancellingSigns(): number[] {
  const { data } = parityInput(64);
  const random = uniform(5);
  for (;;) {
    const signs = Array.from({ length: 64 }, () => (random() < 0.5 ? -1 : 1));
    const sums = [0, 1, 2].map((row) => signs.reduce((sum, sign, c) => sum + sign * data[row * 64 + c], 0));
    if (sums.every((sum) => Math.abs(sum) < 0.2 * Math.sqrt(64))) return signs;
  }
}

describe('an outlier row of a weight that the inputs nearly cancel in', () => {
  const signs = cancellingSigns();

  function withOutlier(weights: QuantizedExpert): QuantizedExpert {
    const { codes, scales } = weights.up.weight;
    signs.forEach((sign, c) => (codes[c] = sign));
    scales.fill(1000, 0, scales.length / weights.up.weight.rows);
    return weights;
  }

  test.each([
    ['nbits', 'w4a16'],
    ['nbits', 'ternary'],
    ['packed', 'ternary'],
  ] as const)('has parity as %s %s, and none with a wrong scale', async (target, scheme) => {
    const [model, reference] = written(target, scheme, {}, noRotation, undefined, withOutlier);
    await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
    reference.experts[0].up.rows.data.forEach((value, i, all) => (all[i] = 1.5 * value));
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({ code: 'PARITY' });
  });
});

describe('experts that are run one by one', () => {
  const targets = pairs.filter(([target]) => target !== 'qmoe');
  test.each(targets)('have parity as %s %s, and fail by themselves', async (target, scheme) => {
    const [model, reference] = written(target, scheme, { experts: 16 });
    const checks = parityChecks([reference], [], 1);
    expect(new Set(checks.map(({ experts }) => experts.first)).size).toBe(16);
    await expect(checkParity(model, checks)).resolves.toBeUndefined();
    reference.experts[9].down.rows.data[0] += 1;
    await expect(checkParity(model, parityChecks([reference], [], 1))).rejects.toMatchObject({
      where: 'layer L0, expert L0.E9, down',
    });
  });

  test('read no weights of others', async () => {
    const [model, reference] = written('int', 'w4a4', { experts: 16 });
    const others = [...model.graph.constants].filter(({ name }) =>
      /^moeq\/L0\.E(?!9\/)\d+\/.*weight/.test(name),
    );
    expect(others.length).toBeGreaterThanOrEqual(30);
    for (const { tensor } of others) tensor!.source.read = () => expect.fail('of another expert');
    const checks = parityChecks([reference], [], 1).filter(({ experts }) => experts.first === 9);
    await expect(checkParity(model, checks)).resolves.toBeUndefined();
  });
});

describe('a layer whose tokens are shifted far has parity', () => {
  const shift = quantizeRtn(gaussian(1, 64, 7), { bits: 8, groupSize: 64 });
  shift.scales[0] *= 100;

  /** Takes the shift from what an expert reads, and gives it back behind its first linears. */
  function shifted({ gate, up, down }: QuantizedExpert): QuantizedExpert {
    const giveBack = ({ weight }: QuantizedLinear): QuantizedLinear => ({
      weight,
      bias: timesCodes(dequantize(shift), weight).data,
    });
    return { shift, gate: gate && giveBack(gate), up: giveBack(up), down };
  }

  test.each([
    ['int', 'w4a4'],
    ['nbits', 'w4a4'],
    ['nbits', 'w2a4'],
  ] as const)('as %s %s', async (target, scheme) => {
    const [model, reference] = written(target, scheme, {}, noRotation, undefined, shifted);
    await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
  });
});

describe('a rotated layer has parity', () => {
  const rotations: RotationBlocks[] = [
    { input: null, hidden: 32 },
    { input: 64, hidden: null },
    { input: 32, hidden: 32 },
  ];
  const targets = pairs.filter(([target]) => target !== 'qmoe');
  test.each(targets.flatMap((pair) => rotations.map((rotation) => [...pair, rotation] as const)))(
    'as %s %s in blocks of %o',
    async (target, scheme, rotation) => {
      const [model, reference] = written(target, scheme, { intermediate: 96 }, rotation);
      await expect(checkParity(model, parityChecks([reference]))).resolves.toBeUndefined();
    },
  );
});

describe('activations in blocks', () => {
  const pairsInBlocks = [
    ['int', 'w4a4'],
    ['int', 'w3a3'],
    ['qdq', 'w4a4'],
    ['nbits', 'w2a4'],
  ] as const;

  test.each(pairsInBlocks)('have no parity with one grid per token, as %s %s', async (target, scheme) => {
    const [model] = written(target, scheme);
    const [, reference] = written(target, scheme, {}, noRotation, { block: 'token' });
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({ code: 'PARITY' });
  });

  test.each(pairsInBlocks)('nor with blocks of another size, as %s %s', async (target, scheme) => {
    const [model] = written(target, scheme);
    const [, reference] = written(target, scheme, {}, noRotation, { block: 32 });
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({ code: 'PARITY' });
  });
});

describe('a damaged weight fails parity', () => {
  test.each(pairs)('as %s %s', async (target, scheme) => {
    const [model, reference] = written(target, scheme);
    const damaged = [...model.graph.constants].find(({ name }) => /\/down\/(weight|packed)$/.test(name))!;
    const { dtype, shape } = damaged.tensor!.source;
    const bytes = Uint8Array.from(damaged.tensor!.source.read());
    // A whole row of another expert's sign.
    for (let i = 0; i < bytes.length / 8; i++)
      bytes[i] = target === 'packed' ? 242 - bytes[i] : bytes[i] ^ 0x55;
    damaged.tensor = makeTensor(damaged.name, dtype, shape, bytes);
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({
      code: 'PARITY',
      where: expect.stringMatching(/layer L0, expert L0\.E0, .*down/) as string,
    });
  });

  test('and so does one that is wrong for few tokens only', async () => {
    const [model, reference] = written('int', 'w4a4');
    const places = [...model.graph.constants].find(({ name }) => name === 'moeq/L0.E0/places')!;
    places.tensor = makeTensor(places.name, 'uint8', [1, 2], Uint8Array.of(16, 1));
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({ code: 'PARITY' });
  });

  test('and so does a damaged scale', async () => {
    const [model, reference] = written('int', 'w4a4');
    const scales = [...model.graph.constants].find(({ name }) => name === 'moeq/L0/gate/scales')!;
    const { dtype, shape } = scales.tensor!.source;
    const values = new Float32Array(scales.tensor!.source.read().slice().buffer);
    values[3] *= 1.01;
    scales.tensor = makeTensor(scales.name, dtype, shape, new Uint8Array(values.buffer));
    await expect(checkParity(model, parityChecks([reference]))).rejects.toMatchObject({ code: 'PARITY' });
  });
});

describe('a linear beside the experts', () => {
  const weight = gaussian(24, 64, 1);

  /** A model of one linear with a bias, quantized and read back, with its references. */
  function dense(scheme: DenseScheme, portable: boolean): [Model, LinearReference[]] {
    const model = makeModel({ x: ['float32', ['n', 64]] }, (b, x) => {
      const bias = b.constant('bias', 'float32', [24], gaussian(1, 24, 2).data);
      return { y: b.op('Gemm', [x, b.constant('w', 'float32', [24, 64], weight.data), bias], { transB: 1 }) };
    });
    const { references } = quantizeDense(model, [], scheme, portable);
    model.graph.removeDeadCode();
    return [decodeModel(encodeModel(model), 'dense.onnx'), references];
  }

  const writings = (['w8a8', 'w4a8', 'w4a16'] as const).flatMap((scheme) =>
    [false, true].map((portable) => [scheme, portable] as const),
  );

  test.each(writings)(
    'has parity as %s, portable %s, and not with a damaged weight',
    async (scheme, portable) => {
      const [model, references] = dense(scheme, portable);
      expect(references).toHaveLength(1);
      await expect(checkParity(model, parityChecks([], references))).resolves.toBeUndefined();
      const stored = [...model.graph.constants].find(({ name }) =>
        name.startsWith('moeq/dense/w/linear/weight'),
      )!;
      const { dtype, shape } = stored.tensor!.source;
      const bytes = stored.tensor!.source.read().map((byte) => byte ^ 0x55);
      stored.tensor = makeTensor(stored.name, dtype, shape, bytes);
      await expect(checkParity(model, parityChecks([], references))).rejects.toMatchObject({
        code: 'PARITY',
        where: 'dense/w',
      });
    },
  );
});
