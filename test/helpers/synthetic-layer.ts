import type { Activation, Expert, Linear, MoeLayer, Routing } from '../../src/moe/moe-layer.ts';
import { builder } from '../../src/onnx/build.ts';
import { Graph } from '../../src/onnx/graph.ts';
import type { Model } from '../../src/onnx/model.ts';
import { newModel } from '../../src/onnx/model.ts';
import type { Node } from '../../src/onnx/node.ts';
import type { Value } from '../../src/onnx/value.ts';
import { encodeNumbers } from '../../src/tensor/encode.ts';
import { tensorSource } from '../../src/tensor/source.ts';
import { vectorView } from '../../src/tensor/view.ts';
import { gaussian } from '../quantize/random.ts';
import { declared } from './make-model.ts';

export interface LayerSpec {
  hidden: number;
  intermediate: number;
  experts: number;
  k: number;
  gated: boolean;
  bias: boolean;
  activation: Activation;
  /** `router`: the graph chooses itself, the k largest of softmax-normalized `logits`. */
  routing: 'topk' | 'dense-first' | 'dense-last' | 'combine' | 'router';
  appliesTo: 'output' | 'input';
  dtype: 'float32' | 'float16';
  opset: number;
  seed: number;
}

export const silu: Activation = { name: 'silu', alpha: 1, limit: null, upOffset: 0 };

const defaults: LayerSpec = {
  hidden: 48,
  intermediate: 32,
  experts: 4,
  k: 2,
  gated: true,
  bias: false,
  activation: silu,
  routing: 'topk',
  appliesTo: 'output',
  dtype: 'float32',
  opset: 21,
  seed: 1,
};

/**
 * A MoE layer with random weights whose routing is fed: graph inputs `x` [tokens, hidden], `weights` (all forms) and
 * `indices` (top-k), output `y`. Its experts exist as weights only, and `y` is `x` until the layer is emitted.
 */
export function syntheticLayer(spec: Partial<LayerSpec> = {}): {
  model: Model;
  layer: MoeLayer;
  spec: LayerSpec;
} {
  const full = { ...defaults, ...spec };
  const graph = new Graph('test');
  const input = declared(graph.uniqueName('x'), full.dtype, ['tokens', full.hidden]);
  const { inputs, routing } = routingOf(graph, full);
  const logits = inputs.at(-1)!;
  graph.inputs = [input, ...inputs];
  const output = builder(graph, '').op('Identity', [input], {}, { name: 'y' });
  output.info = { name: 'y', type: input.type! };
  graph.outputs = [output];
  const model = newModel(graph, { '': full.opset }, full.opset >= 25 ? 13 : 10, 'synthetic.onnx');
  return { model, spec: full, layer: layerOf(full, { input, output, routing }, logits) };
}

function layerOf(spec: LayerSpec, boundary: NonNullable<MoeLayer['boundary']>, logits: Value): MoeLayer {
  const { hidden, intermediate, experts, k, routing, activation } = spec;
  return {
    id: 'L0',
    form: 'loop',
    router: {
      linear: null,
      experts,
      topK: routing === 'topk' ? k : null,
      scoring: 'softmax',
      renormalized: false,
      bias: false,
      logits,
    },
    gated: spec.gated,
    routers: 1,
    experts: Array.from({ length: experts }, (_, index) => expertOf(spec, index, boundary.output.producer!)),
    hidden,
    intermediate,
    activation,
    shared: null,
    norm: null,
    boundary,
    complete: true,
    quantizable: true,
    reason: '',
    warnings: [],
  };
}

function expertOf(spec: LayerSpec, index: number, node: Node): Expert {
  const { hidden, intermediate, gated, seed } = spec;
  const id = `L0.E${index}`;
  const linear = (name: string, rows: number, cols: number, salt: number): Linear =>
    linearOf(spec, node, { name: `${id}.${name}`, rows, cols, seed: seed * 1000 + index * 10 + salt });
  return {
    id,
    index,
    kind: 'ffn',
    gate: gated ? linear('gate', intermediate, hidden, 1) : null,
    up: linear('up', intermediate, hidden, 2),
    down: linear('down', hidden, intermediate, 3),
  };
}

function linearOf(
  { dtype, bias }: LayerSpec,
  node: Node,
  { name, rows, cols, seed }: { name: string; rows: number; cols: number; seed: number },
): Linear {
  const stored = (length: readonly number[], values: Float32Array) =>
    tensorSource(dtype, length, encodeNumbers(values, dtype));
  const weight = stored(
    [rows, cols],
    gaussian(rows, cols, seed).data.map((value) => value / Math.sqrt(cols)),
  );
  const biasView = vectorView(stored([rows], gaussian(1, rows, seed + 5).data), rows);
  return {
    name,
    weight: { source: weight, rows, cols, offset: 0, rowStride: cols, colStride: 1 },
    bias: bias ? { name: `${name}.bias`, view: biasView } : null,
    node,
    weightInput: 1,
  };
}

function routingOf(
  graph: Graph,
  { routing, appliesTo, experts, k, dtype }: LayerSpec,
): { inputs: Value[]; routing: Routing } {
  // The graph shows that they are never negative, as that of a router does.
  const weightsOf = (...dims: (string | number)[]) => declared(graph.uniqueName('weights'), dtype, dims);
  const positive = (weights: Value): Value => builder(graph, 'router').op('Relu', [weights]);
  if (routing === 'topk') {
    const indices = declared(graph.uniqueName('indices'), 'int64', ['tokens', k]);
    const weights = weightsOf('tokens', k);
    return {
      inputs: [indices, weights],
      routing: { kind: 'topk', indices, weights: positive(weights), k, appliesTo },
    };
  }
  if (routing === 'router') {
    const logits = declared(graph.uniqueName('logits'), 'float32', ['tokens', experts]);
    const b = builder(graph, 'router');
    const [chosen, indices] = b.ops(2, 'TopK', [logits, b.ints([k])]);
    const weights = b.op('Softmax', [chosen]);
    return { inputs: [logits], routing: { kind: 'topk', indices, weights, k, appliesTo } };
  }
  if (routing === 'combine') {
    const weights = weightsOf('tokens', experts, 'capacity');
    return { inputs: [weights], routing: { kind: 'combine', weights: positive(weights), appliesTo } };
  }
  const isFirst = routing === 'dense-first';
  const weights = isFirst ? weightsOf(experts, 'tokens') : weightsOf('tokens', experts);
  const expertAxis = isFirst ? 'first' : 'last';
  return { inputs: [weights], routing: { kind: 'dense', weights: positive(weights), expertAxis, appliesTo } };
}
