import type { Boundary, Expert, Linear, MoeLayer } from '../../../src/moe/moe-layer.ts';
import { activate } from '../../../src/moe/activation.ts';
import type { Value } from '../../../src/onnx/value.ts';
import { readMatrix } from '../../../src/tensor/view.ts';

type Numbers = ArrayLike<number>;

/** The values a replay needs from a run. */
export function replayValues({ input, output, routing }: Boundary): Value[] {
  if (routing.kind === 'logits') return [input, output, routing.logits];
  return [input, output, routing.weights, ...(routing.kind === 'topk' ? [routing.indices] : [])];
}

/**
 * Recomputes a layer from its record alone: input, routing and the matrices of its experts. Returns the largest
 * difference to the recorded output, relative to the largest output.
 */
export function replayError(layer: MoeLayer, values: ReadonlyMap<Value, Numbers>): number {
  const boundary = layer.boundary!;
  const input = values.get(boundary.input)!;
  const output = values.get(boundary.output)!;
  const tokens = input.length / layer.hidden;
  if (output.length !== input.length) return Infinity;
  const run = layer.experts.map((expert) =>
    expert.kind === 'ffn' ? expertFunction(expert, layer) : nothing,
  );
  const sum = new Float64Array(input.length);
  for (const { token, expert, weight } of visits(boundary, layer, tokens, values)) {
    const scale = boundary.routing.appliesTo === 'input' ? weight : 1;
    const x = Float64Array.from(
      { length: layer.hidden },
      (_, at) => input[token * layer.hidden + at] * scale,
    );
    const { appliesTo, factor: besides = 1 } = boundary.routing;
    const factor = appliesTo === 'input' ? 1 : weight * besides;
    run[expert](x).forEach((value, at) => (sum[token * layer.hidden + at] += factor * value));
  }
  let worst = 0;
  let largest = 0;
  sum.forEach((value, at) => {
    worst = Math.max(worst, Math.abs(value - output[at]));
    largest = Math.max(largest, Math.abs(output[at]));
  });
  return largest === 0 ? Infinity : worst / largest;
}

function* visits(
  { routing }: Boundary,
  layer: MoeLayer,
  tokens: number,
  values: ReadonlyMap<Value, Numbers>,
): Generator<{ token: number; expert: number; weight: number }> {
  if (routing.kind === 'logits') {
    yield* fusedVisits(values.get(routing.logits)!, routing, layer.router.experts, tokens);
    return;
  }
  const weights = values.get(routing.weights)!;
  const count = layer.router.experts;
  const position = new Map(layer.experts.map(({ index }, at) => [index, at]));
  for (let token = 0; token < tokens; token++) {
    if (routing.kind === 'topk') {
      const indices = values.get(routing.indices)!;
      for (let j = 0; j < routing.k; j++) {
        const at = token * routing.k + j;
        yield { token, expert: position.get(indices[at])!, weight: weights[at] };
      }
    } else {
      const capacity = weights.length / tokens / count;
      for (let e = 0; e < count; e++) {
        let weight = 0;
        for (let c = 0; c < capacity; c++) {
          const at =
            routing.kind === 'dense' && routing.expertAxis === 'first'
              ? e * tokens + token
              : (token * count + e) * capacity + c;
          weight += weights[at];
        }
        if (weight !== 0) yield { token, expert: position.get(e)!, weight };
      }
    }
  }
}

/** What a fused operator does by itself: softmax, top-k and, if asked for, division by the sum. */
function* fusedVisits(
  logits: Numbers,
  { k, renormalized }: { k: number; renormalized: boolean },
  experts: number,
  tokens: number,
): Generator<{ token: number; expert: number; weight: number }> {
  for (let token = 0; token < tokens; token++) {
    const row = Array.from({ length: experts }, (_, e) => Math.exp(logits[token * experts + e]));
    const total = row.reduce((sum, each) => sum + each, 0);
    const chosen = row
      .map((value, expert) => ({ expert, value }))
      .toSorted((a, b) => b.value - a.value)
      .slice(0, k);
    const divisor = renormalized ? chosen.reduce((sum, { value }) => sum + value, 0) : total;
    for (const { expert, value } of chosen) yield { token, expert, weight: value / divisor };
  }
}

/** Experts without matrices are no part of the recorded sum. */
const nothing = (x: Float64Array): Float64Array => new Float64Array(x.length);

function expertFunction(
  { gate, up, down }: Expert,
  { activation }: MoeLayer,
): (x: Float64Array) => Float64Array {
  const [g, u, d] = [gate && linear(gate), linear(up!), linear(down!)];
  return (x) => {
    const gated = g && g(x);
    return d(u(x).map((value, at) => activate(activation, gated && gated[at], value)));
  };
}

function linear({ weight, bias }: Linear): (x: Float64Array) => Float64Array {
  const { rows, cols, data } = readMatrix(weight);
  const offset = bias && readMatrix(bias.view).data;
  return (x) =>
    Float64Array.from({ length: rows }, (_, row) => {
      let sum = offset ? offset[row] : 0;
      for (let col = 0; col < cols; col++) sum += data[row * cols + col] * x[col];
      return sum;
    });
}
