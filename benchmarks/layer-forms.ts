import { emitLayer } from '../src/emit/emit-layer.ts';
import type { EmitterOptions } from '../src/emit/emitter-for.ts';
import { emitterFor } from '../src/emit/emitter-for.ts';
import type { ExpertEmitter, QuantizedExpert } from '../src/emit/expert-emitter.ts';
import { floatExperts } from '../src/emit/float-experts.ts';
import { packCodes } from '../src/emit/forms/pack-codes.ts';
import { groupedFfn } from '../src/emit/grouped-ffn.ts';
import type { LinearForm } from '../src/emit/linear-form.ts';
import type { ResolvedTarget, Target } from '../src/emit/resolve-target.ts';
import { resolveTarget } from '../src/emit/resolve-target.ts';
import type { Expert, MoeLayer } from '../src/moe/moe-layer.ts';
import { readExpert } from '../src/moe/read-expert.ts';
import { builder } from '../src/onnx/build.ts';
import type { Model } from '../src/onnx/model.ts';
import { quantizeRtn } from '../src/quantize/rtn.ts';
import type { SchemeName } from '../src/quantize/scheme.ts';
import { hasCoarseActivations, schemeOf } from '../src/quantize/scheme.ts';
import { quantizeTernary } from '../src/quantize/ternary.ts';
import { matrix, type Matrix } from '../src/tensor/matrix.ts';
import { readMatrix } from '../src/tensor/view.ts';
import { syntheticLayer } from '../test/helpers/synthetic-layer.ts';
import { sourceForm } from './source-forms.ts';

export interface Size {
  hidden: number;
  intermediate: number;
  experts: number;
  k: number;
}

const ours: readonly [SchemeName, Target | 'auto'][] = [
  ['w4a4', 'auto'],
  ['w4a4', 'int'],
  ['w4a4', 'nbits'],
  ['w8a8', 'int'],
  ['ternary-a8', 'int'],
  ['w4a16', 'auto'],
  ['w4a16', 'nbits'],
  ['ternary', 'auto'],
  ['ternary', 'nbits'],
  ['ternary', 'packed'],
  ['w4a4', 'qdq'],
  ['ternary', 'qmoe'],
];

/** As a conversion rotates by default, where calibration records say so. */
const rotation = { input: null, hidden: 16 };

/** One layer (random weights, top-k of logits that are fed) in every form that is compared, each made when it is asked for. */
export function layerForms(size: Size): [string, () => Model][] {
  const emitted = (emitter: (layer: MoeLayer) => ExpertEmitter) => (): Model => written(size, emitter);
  return [
    ['float, source loop', () => sourceForm(size, 'loop')],
    ['float, source batched', () => sourceForm(size, 'batched')],
    ['float, experts apart', emitted(floatExperts)],
    ['float MoE', () => floatMoe(size)],
    ['QMoE, 4 bits', emitted((layer) => emitterOf(layer, 'w4a16', 'qmoe'))],
    ['QDQ, 4 bits, as ONNX Runtime fuses it', emitted(fusedQdq)],
    ['w4a4 int, bytes only', emitted((layer) => emitterOf(layer, 'w4a4', 'int', { fewRowsAbove: Infinity }))],
    ['w4a4 int, always both ways', emitted((layer) => emitterOf(layer, 'w4a4', 'int', { fewRowsAbove: 0 }))],
    ['w4a4 int, rotated before down', emitted((layer) => emitterOf(layer, 'w4a4', 'int', { rotation }))],
    ['w4a4 int, groups of 32', emitted((layer) => emitterOf(layer, 'w4a4', 'int', { group: 32 }))],
    ['w4a4 int, one grid per token', emitted((layer) => emitterOf(layer, 'w4a4', 'int', { block: 'token' }))],
    ...ours.map(([scheme, target]): [string, () => Model] => [
      `${scheme} ${target}`,
      emitted((layer) => emitterOf(layer, scheme, target)),
    ]),
  ];
}

function written(size: Size, emitter: (layer: MoeLayer) => ExpertEmitter): Model {
  const { model, layer } = syntheticLayer({ ...size, routing: 'router', opset: 25 });
  emitLayer(model, layer, emitter(layer));
  model.graph.removeDeadCode();
  return model;
}

interface FormOptions extends Pick<EmitterOptions, 'fewRowsAbove' | 'rotation'> {
  block?: 'auto' | 'token';
  group?: 'auto' | number;
}

function emitterOf(
  layer: MoeLayer,
  scheme: SchemeName,
  target: Target | 'auto',
  { block = 'auto', group = 'auto', ...options }: FormOptions = {},
): ExpertEmitter {
  const resolved = resolveTarget({ scheme, target, group, activations: { block } });
  // As a conversion of few activation bits writes them.
  const isShifted = block === 'token' && hasCoarseActivations(resolved.scheme);
  return emitterFor(resolved, { layer, weightsOf: rounded(resolved, isShifted), ...options });
}

function rounded(
  { scheme, groupsOf }: Pick<ResolvedTarget, 'scheme' | 'groupsOf'>,
  isShifted = false,
): (expert: Expert) => QuantizedExpert {
  const { bits, ternary } = scheme.weight;
  const round = ({ weight, bias }: ReturnType<typeof readExpert>['up']): QuantizedExpert['up'] => {
    const groups = groupsOf(weight.cols);
    return {
      weight: ternary ? quantizeTernary(weight, groups) : quantizeRtn(weight, { bits, ...groups }),
      bias,
    };
  };
  return (expert) => {
    const { gate, up, down } = readExpert(expert);
    const shift = isShifted ? quantizeRtn(meanOf(up.weight), { bits: 8, groupSize: up.weight.cols }) : null;
    if (isShifted) for (const each of [gate, up]) if (each) each.bias ??= new Float32Array(each.weight.rows);
    return { shift, gate: gate && round(gate), up: round(up), down: round(down) };
  };
}

/** Any numbers of the size of an input's mean, [1, in]. */
function meanOf({ cols, data }: Matrix): Matrix {
  return matrix(1, cols, data.slice(0, cols));
}

/**
 * DequantizeLinear of INT4 weights [in, out] into MatMul: the pattern that ONNX Runtime turns into MatMulNBits, if the weights
 * are in the graph of the product, which may be a branch.
 */
function fusedQdq(layer: MoeLayer): ExpertEmitter {
  const form: LinearForm = {
    integer: false,
    prepare: (_, x) => ({ operand: x, scales: null }),
    linear: (_, name, { rows, cols, groupSize, codes, scales }) => ({
      product(b, { operand }) {
        const groups = cols / groupSize;
        const packed = packCodes(transposed(codes, cols), 'int4');
        const weight = b.constant(`${name}/weight`, 'int4', [cols, rows], packed);
        const scale = b.constant(`${name}/scales`, 'float32', [groups, rows], transposed(scales, groups));
        const float = b.op('DequantizeLinear', [weight, scale], { axis: 0, block_size: groupSize });
        return b.op('MatMul', [operand, float], {}, { name });
      },
    }),
  };
  return groupedFfn(
    layer,
    rounded({ scheme: schemeOf('w4a16'), groupsOf: () => ({ groupSize: 128 }) }),
    form,
  );
}

function transposed<T extends Int8Array | Float32Array>(values: T, cols: number): T {
  const rows = values.length / cols;
  return values.map((_, i) => values[(i % rows) * cols + Math.floor(i / rows)]) as T;
}

/** The fused float operator, weights stacked and gate and up interleaved. */
function floatMoe(size: Size): Model {
  const { hidden, intermediate, experts, k } = size;
  const { model, layer } = syntheticLayer({ ...size, routing: 'router', opset: 25 });
  const first = new Float32Array(experts * 2 * intermediate * hidden);
  const second = new Float32Array(experts * hidden * intermediate);
  layer.experts.forEach(({ gate, up, down }, e) => {
    [gate!, up!].forEach((linear, half) => {
      const { data } = readMatrix(linear.weight);
      for (let r = 0; r < intermediate; r++) {
        const at = (e * 2 * intermediate + 2 * r + half) * hidden;
        first.set(data.subarray(r * hidden, (r + 1) * hidden), at);
      }
    });
    second.set(readMatrix(down!.weight).data, e * hidden * intermediate);
  });
  const b = builder(model.graph, '');
  const inputs = [
    ...model.graph.inputs,
    b.constant('first', 'float32', [experts, 2 * intermediate, hidden], first),
    null,
    b.constant('second', 'float32', [experts, hidden, intermediate], second),
  ];
  const attributes = { k, activation_type: 'swiglu', swiglu_fusion: 1, normalize_routing_weights: 1 };
  const output = b.op('MoE', inputs, attributes, { domain: 'com.microsoft', name: 'moe' });
  model.graph.replaceAllUses(layer.boundary!.output, output);
  model.graph.removeDeadCode();
  model.opsets.set('com.microsoft', 1);
  return model;
}
