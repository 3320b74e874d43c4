import type { Builder } from '../../../src/onnx/build.ts';
import type { Model } from '../../../src/onnx/model.ts';
import type { Value } from '../../../src/onnx/value.ts';
import { makeModel } from '../../helpers/make-model.ts';
import { gaussian } from '../../quantize/random.ts';

export const [hidden, width, experts, k] = [8, 12, 4, 2];

/** Normal numbers, of the same seed for the same name. */
export function weight(b: Builder, name: string, shape: readonly number[]): Value {
  const count = shape.reduce((product, dim) => product * dim, 1);
  const seed = Buffer.from(name).reduce((total, byte) => (total * 31 + byte) % 65_521, 7);
  return b.constant(name, 'float32', shape, gaussian(1, count, seed).data);
}

export function scalar(b: Builder, value: number): Value {
  return b.constant('scalar', 'float32', [], [value]);
}

export function flat(b: Builder, x: Value): Value {
  return b.op('Reshape', [x, b.ints([-1, hidden])]);
}

/** x / root(mean(x²)) · gain, written out as TorchScript does. */
export function norm(b: Builder, x: Value, name = 'norm'): Value {
  const squares = b.op('ReduceMean', [b.op('Mul', [x, x]), b.ints([-1])]);
  const root = b.op('Sqrt', [b.op('Add', [squares, scalar(b, 1e-6)])]);
  return b.op('Mul', [b.op('Div', [x, root]), weight(b, name, [hidden])]);
}

export function logits(b: Builder, x: Value, columns = experts): Value {
  return b.op('MatMul', [x, weight(b, 'router', [hidden, columns])]);
}

/** Softmax, and the k largest: weights and indices [..., k]. */
export function choose(b: Builder, scores: Value, count = k): [Value, Value] {
  const shares = b.op('Softmax', [scores], { axis: -1 });
  return b.ops(2, 'TopK', [shares, b.ints([count])]) as [Value, Value];
}

export function expert(b: Builder, x: Value, e: number): Value {
  const gate = b.op('MatMul', [x, weight(b, `experts.${e}.gate`, [hidden, width])]);
  const up = b.op('MatMul', [x, weight(b, `experts.${e}.up`, [hidden, width])]);
  const inner = b.op('Mul', [b.op('Mul', [gate, b.op('Sigmoid', [gate])]), up]);
  return b.op('MatMul', [inner, weight(b, `experts.${e}.down`, [width, hidden])]);
}

/** Experts of some weights: `e` takes those of `ofExpert(e)`, and no weight is stored twice. */
export function sharedExperts(ofExpert = (e: number): number => e): typeof expert {
  const held = new Map<string, Value>();
  return (b, x, e) => {
    const linear = (from: Value, part: string, shape: [number, number]): Value => {
      const name = `experts.${ofExpert(e)}.${part}`;
      if (!held.has(name)) held.set(name, weight(b, name, shape));
      return b.op('MatMul', [from, held.get(name)!]);
    };
    const up = b.op('Relu', [linear(x, 'up', [hidden, width])]);
    return linear(up, 'down', [width, hidden]);
  };
}

/** The share of expert `e` per token, [..., 1]: the sum over weights · (indices == e). */
export function shareOf(b: Builder, [weights, indices]: [Value, Value], e: number): Value {
  const mask = b.op('Cast', [b.op('Equal', [indices, b.ints(e)])], { to: 1 });
  return b.op('ReduceSum', [b.op('Mul', [weights, mask]), b.ints([-1])], { keepdims: 1 });
}

export function sum(b: Builder, values: readonly Value[]): Value {
  return values.reduce((total, each) => b.op('Add', [total, each]));
}

/** The sum of all experts on all tokens, each times its share. */
export function maskedExperts(b: Builder, x: Value, chosen: [Value, Value], write = expert): Value {
  const outputs = Array.from({ length: experts }, (_, e) =>
    b.op('Mul', [write(b, x, e), shareOf(b, chosen, e)]),
  );
  return sum(b, outputs);
}

/** Every choice of a token on weights gathered from stacks, [tokens, choices, ...], added up. */
export function gatheredExperts(b: Builder, tokens: Value, [weights, indices]: [Value, Value]): Value {
  const pick = (name: string, shape: number[]): Value => b.op('Gather', [weight(b, name, shape), indices]);
  const rows = b.op('Reshape', [tokens, b.ints([-1, 1, hidden, 1])]);
  const up = b.op('Relu', [b.op('MatMul', [pick('up', [experts, width, hidden]), rows])]);
  const down = b.op('Squeeze', [b.op('MatMul', [pick('down', [experts, hidden, width]), up]), b.ints([-1])]);
  const weighed = b.op('Mul', [down, b.op('Unsqueeze', [weights, b.ints([-1])])]);
  return b.op('ReduceSum', [weighed, b.ints([1])], { keepdims: 0 });
}

/** Brings the weighed rows of an expert to the sum of the experts before it. */
export type Put = (b: Builder, total: Value, rows: Value, weighed: Value) => Value;

export const scatter =
  (reduction: string): Put =>
  (b, total, rows, weighed) =>
    b.op('ScatterND', [total, b.op('Unsqueeze', [rows, b.ints([-1])]), weighed], { reduction });

/** Every expert on the tokens [tokens, hidden] that chose it; its rows are put back in their places. */
export function pickedExperts(
  b: Builder,
  tokens: Value,
  [weights, indices]: [Value, Value],
  { write = expert, put = scatter('add'), total = null as Value | null } = {},
): Value {
  const begin = total ?? b.op('ConstantOfShape', [b.op('Shape', [tokens])]);
  return Array.from({ length: experts }, (_, e) => e).reduce((sum, e) => {
    const places = b.op('NonZero', [b.op('Equal', [indices, b.ints(e)])]);
    const rows = b.op('Gather', [places, b.ints(0)]);
    const shares = b.op('GatherND', [weights, b.op('Transpose', [places], { perm: [1, 0] })]);
    const output = write(b, b.op('Gather', [tokens, rows]), e);
    const weighed = b.op('Mul', [output, b.op('Unsqueeze', [shares, b.ints([-1])])]);
    return put(b, sum, rows, weighed);
  }, begin);
}

/** A layer of masked experts on a normalized stream, with the residual added. */
export function maskedLayer(b: Builder, stream: Value, write = expert): Value {
  const x = norm(b, stream);
  return b.op('Add', [stream, maskedExperts(b, x, choose(b, logits(b, x)), write)]);
}

export type Part = (b: Builder, x: Value) => Value;

/** A part on a normalized stream, with the residual added. */
export function block(part: Part): Model {
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => ({
    y: b.op('Add', [stream, part(b, norm(b, stream))]),
  }));
}

/** Router and experts normalize the stream each for themselves, as in Gemma 4. */
export function normsApart(): Model {
  return makeModel({ x: ['float32', ['batch', 'sequence', hidden]] }, (b, stream) => {
    const chosen = choose(b, logits(b, norm(b, stream, 'router_norm')));
    return { y: b.op('Add', [stream, maskedExperts(b, norm(b, stream, 'experts_norm'), chosen)]) };
  });
}
