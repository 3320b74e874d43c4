import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import type { Operand, Product, WrittenWeight } from './grouped-ffn.ts';
import { splitByExpert } from './split-by-expert.ts';

/** The same linear of every expert. */
export interface Bank {
  /** Of the products. */
  name: string;
  weights: readonly WrittenWeight[];
}

/**
 * The rows of every expert times its weight, [S, out], for each of `banks`, which read the same input. Where weights
 * can be multiplied in another way for few rows, the graph chooses at every run.
 */
export function expertProducts(
  b: Builder,
  input: Operand,
  { counts, areFew }: Dispatch,
  banks: readonly Bank[],
): Value[] {
  const many = (inner: Builder): Value[] => products(inner, input, counts, banks, ({ product }) => product);
  const { fewRows } = banks[0].weights[0];
  if (!fewRows) return many(b);
  const few = (inner: Builder): Value[] => {
    const operand = fewRows.prepare(inner, input);
    const sums = products(inner, operand, counts, banks, (weight) => weight.fewRows!.product);
    return sums.map((value) => inner.op('Cast', [value], { to: codeOf('int32') }));
  };
  const branches = { then_branch: b.subgraph('few', few), else_branch: b.subgraph('many', many) };
  return b.ops(banks.length, 'If', [areFew], branches, { name: 'products' });
}

function products(
  b: Builder,
  input: Operand,
  counts: Value,
  banks: readonly Bank[],
  productOf: (weight: WrittenWeight) => Product,
): Value[] {
  const rows = splitByExpert(b, input.operand, counts, banks[0].weights.length);
  return banks.map(({ name, weights }) => {
    const parts = weights.map((weight, i) => {
      const inner = builder(b.graph, weight.prefix);
      return productOf(weight)(inner, { ...input, operand: rows[i] });
    });
    return b.op('Concat', parts, { axis: 0 }, { name });
  });
}
