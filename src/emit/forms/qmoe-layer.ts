import { Fault } from '../../fault.ts';
import { activationName } from '../../moe/activation-name.ts';
import { ffnExperts } from '../../moe/ffn-experts.ts';
import { isNonNegative } from '../../moe/graph/non-negative.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { ExplicitRouting } from '../../moe/spell-out-routing.ts';
import { explicitRouting } from '../../moe/spell-out-routing.ts';
import type { Builder } from '../../onnx/build.ts';
import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { storedBits } from '../../quantize/grid.ts';
import type { QuantizedTensor } from '../../quantize/quantized-tensor.ts';
import type { Dispatch } from '../dispatch-tokens.ts';
import { denseWeights } from '../dispatch-tokens.ts';
import type { FusedEmitter, QuantizedExpert, QuantizedLinear } from '../expert-emitter.ts';
import type { ResolvedTarget } from '../resolve-target.ts';
import { packUnsigned } from './pack-codes.ts';
import { blockScaleConstant, scaleConstant } from './scale-constant.ts';

/**
 * One `com.microsoft.QMoE` for a layer. Routing stays outside of it: the operator gets one matrix [T, experts] that
 * ranks exactly the chosen experts first and one that holds their weights, so that every top-k semantics is kept. For
 * layers that `requireFusible` has nothing against.
 */
export function qmoeLayer(
  layer: MoeLayer,
  weightsOf: (expert: MoeLayer['experts'][number]) => QuantizedExpert,
): FusedEmitter {
  const activation = activationOf(layer);
  const experts = ffnExperts(layer);
  return {
    kind: 'fused',
    emit(b, tokens, routing) {
      const k = routing.kind === 'topk' ? Math.min(routing.k, experts.length) : experts.length;
      const weights = routingMatrix(b, layer, routing);
      const chosen = b.cast(b.cast(weights, 'bool'), 'float32', 'chosen');
      const stored = experts.map(weightsOf);
      const first = stored.map(({ gate, up }) => (gate ? interleave(gate, up) : up));
      const block = blockSizeOf(layer, [first[0].weight, stored[0].down.weight]);
      const fc1 = stack(b, stored[0].gate ? 'gate_up' : 'up', first, block);
      const fc2 = stack(
        b,
        'down',
        stored.map(({ down }) => down),
        block,
      );
      const inputs = [tokens, chosen, ...fc1, ...fc2, null, null, null, null, null, null, weights];
      const { bits } = first[0].weight;
      const attributes = {
        ...activation,
        k,
        expert_weight_bits: storedBits(bits),
        normalize_routing_weights: 0,
        ...(block !== null && { block_size: block }),
      };
      return b.op('QMoE', inputs, attributes, { domain: 'com.microsoft', name: 'fused' });
    },
  };
}

/**
 * Whether a layer can be written, told before its weights are made.
 * @throws Fault SCHEME_TARGET for a layer the operator cannot express, with the reason
 */
export function requireFusible(layer: MoeLayer, groupsOf: ResolvedTarget['groupsOf']): void {
  activationOf(layer);
  requireWholeBytes(layer);
  requirePositiveWeights(layer);
  const widths = [layer.hidden, layer.intermediate];
  blockSizeOf(
    layer,
    widths.map((cols) => ({ cols, groupSize: groupsOf(cols).groupSize })),
  );
}

/**
 * The results [S, hidden] of single experts of a written layer, by running its operator on pairs of a token and one
 * expert of weight 1.
 */
export function fusedResults(
  b: Builder,
  node: Node,
  pairs: Pick<Dispatch, 'tokens' | 'experts'>,
  experts: number,
): Value {
  const [tokens] = node.inputs;
  const depth = b.ints(experts);
  const values = b.constant('off_on', 'float32', [2], [0, 1]);
  const single = b.op('OneHot', [pairs.experts, depth, values]);
  const rows = b.op('Gather', [tokens, pairs.tokens]);
  const inputs = [rows, single, ...node.inputs.slice(2, 14), single];
  const results = b.op('QMoE', inputs, {}, { domain: 'com.microsoft', name: 'results' });
  for (const [name, attribute] of node.attributes) results.producer!.attributes.set(name, attribute);
  results.producer!.attributes.set('k', { ...node.attributes.get('k')!, i: 1 });
  return results;
}

/** Weights [T, experts]; zero where an expert is not chosen. */
function routingMatrix(b: Builder, { router, experts }: MoeLayer, routing: ExplicitRouting): Value {
  const written = ffnExperts({ experts }).map(({ index }) => index);
  const all =
    routing.kind === 'topk' ? scattered(b, routing, router.experts) : byToken(b, routing, router.experts);
  const isAll = written.length === router.experts && written.every((id, position) => id === position);
  const ids = b.constant('ids', 'int64', [written.length], written);
  return isAll ? all : b.op('Gather', [all, ids], { axis: 1 }, { name: 'routing' });
}

function scattered(b: Builder, routing: Extract<ExplicitRouting, { kind: 'topk' }>, width: number): Value {
  const rows = b.ints([-1, routing.k]);
  const indices = b.cast(b.op('Reshape', [routing.indices, rows]), 'int64');
  const weights = b.cast(b.op('Reshape', [routing.weights, rows]), 'float32');
  const count = b.op('Shape', [indices], { start: 0, end: 1 });
  const zeros = b.op('ConstantOfShape', [b.op('Concat', [count, b.ints([width])], { axis: 0 })]);
  return b.op('ScatterElements', [zeros, indices, weights], { axis: 1 }, { name: 'routing' });
}

function byToken(b: Builder, routing: Exclude<ExplicitRouting, { kind: 'topk' }>, width: number): Value {
  const dense = b.cast(denseWeights(b, routing, width), 'float32');
  return b.op('Transpose', [dense], { perm: [1, 0] }, { name: 'routing' });
}

/** Row 2i is row i of gate, row 2i + 1 that of up: the order of the operator's swiglu. */
function interleave(gate: QuantizedLinear, up: QuantizedLinear): QuantizedLinear {
  const { rows, cols, codes, scales } = gate.weight;
  const mixed = {
    codes: new Int8Array(2 * codes.length),
    scales: new Float32Array(2 * scales.length),
    bias: gate.bias || up.bias ? new Float32Array(2 * rows) : null,
  };
  const groups = scales.length / rows;
  [gate, up].forEach(({ weight, bias }, half) => {
    for (let r = 0; r < rows; r++) {
      const to = 2 * r + half;
      mixed.codes.set(weight.codes.subarray(r * cols, (r + 1) * cols), to * cols);
      mixed.scales.set(weight.scales.subarray(r * groups, (r + 1) * groups), to * groups);
      if (bias) mixed.bias![to] = bias[r];
    }
  });
  const { bias, ...numbers } = mixed;
  return { weight: { ...gate.weight, ...numbers, rows: 2 * rows }, bias };
}

/** Weights, scales and biases of all experts as inputs of the operator. */
function stack(
  b: Builder,
  name: string,
  linears: readonly QuantizedLinear[],
  block: number | null,
): (Value | null)[] {
  const { rows, cols, groupSize } = linears[0].weight;
  const bits = storedBits(linears[0].weight.bits);
  const count = linears.length;
  const bytes = Buffer.concat(linears.map(({ weight }) => packUnsigned(weight.codes, bits)));
  const scales = Float32Array.from(linears.flatMap(({ weight }) => [...weight.scales]));
  const biasOf = ({ bias }: QuantizedLinear): Float32Array => bias ?? new Float32Array(rows);
  return [
    b.constant(`${name}/weight`, 'uint8', [count, rows, (cols * bits) / 8], bytes),
    block === null
      ? scaleConstant(b, `${name}/scales`, [count, rows], scales)
      : blockScaleConstant(b, `${name}/scales`, [count, rows, Math.ceil(cols / groupSize)], {
          scales,
          groupOfBlock: Array.from({ length: cols / block }, (_, i) => Math.floor((i * block) / groupSize)),
        }),
    linears.some(({ bias }) => bias)
      ? b.constant(
          `${name}/bias`,
          'float32',
          [count, rows],
          Float32Array.from(linears.flatMap((linear) => [...biasOf(linear)])),
        )
      : null,
  ];
}

/**
 * The one block size of an operator: the largest that every group of weights is a whole number of. Null for scales per
 * output channel. ONNX Runtime 1.30 refuses operators in which a row is a single block.
 */
function blockSizeOf(
  layer: MoeLayer,
  weights: readonly Pick<QuantizedTensor, 'cols' | 'groupSize'>[],
): number | null {
  if (weights.every(({ groupSize, cols }) => groupSize >= cols)) return null;
  const size = [256, 128, 64, 32, 16].find((candidate) =>
    weights.every(({ groupSize, cols }) => {
      const fits = Math.min(groupSize, cols) % candidate === 0;
      return fits && cols % candidate === 0 && cols / candidate >= 2;
    }),
  );
  if (size !== undefined) return size;
  throw refused(layer, 'no block size of 16 to 256 divides both hidden and intermediate size in two or more');
}

function activationOf(layer: MoeLayer): Record<string, string | number | { f: number }> {
  const { name, alpha, limit, upOffset } = layer.activation;
  const told = activationName(layer.activation);
  const isGated = layer.experts.some(({ gate }) => gate);
  if (layer.boundary?.routing.appliesTo === 'input')
    throw refused(layer, 'its routing weights multiply the input of the experts');
  if (!isGated) {
    const known = { relu: 'relu', 'gelu-tanh': 'gelu', identity: 'identity', silu: 'silu' }[name as 'relu'];
    if (!known) throw refused(layer, `it has no activation ${told}`);
    if (name === 'silu' && alpha !== 1) throw refused(layer, `its silu takes no factor of ${alpha}`);
    if (limit !== null) throw refused(layer, `it cuts ${told} at no limit`);
    return { activation_type: known };
  }
  if (name !== 'silu') throw refused(layer, `its gate is ${told}, and the operator gates with silu alone`);
  return {
    activation_type: 'swiglu',
    swiglu_fusion: 1,
    activation_alpha: { f: alpha },
    activation_beta: { f: upOffset },
    ...(limit !== null && { swiglu_limit: { f: limit } }),
  };
}

/** Rows are stored one after the other; four codes of 2 bits fill a byte, and no width was tried that they do not. */
function requireWholeBytes(layer: MoeLayer): void {
  for (const width of [layer.hidden, layer.intermediate])
    if (width % 4 !== 0) throw refused(layer, `rows of ${width} weights fill no whole bytes`);
}

/** The operator leaves out experts whose weight is not positive. */
function requirePositiveWeights(layer: MoeLayer): void {
  if (!isNonNegative(explicitRouting(layer).weights))
    throw refused(layer, 'its routing weights may be negative, and the operator leaves such experts out');
}

function refused({ id }: MoeLayer, why: string): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: `layer ${id} cannot be written as one QMoE operator`,
    why,
    remedy: 'use another target, such as nbits',
  });
}
