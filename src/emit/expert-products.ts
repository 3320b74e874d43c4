import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { chooseWay } from './choose-way.ts';
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
 * can be multiplied in another way, the graph chooses.
 */
export function expertProducts(
  b: Builder,
  input: Operand,
  { counts, areFew }: Dispatch,
  banks: readonly Bank[],
): Value[] {
  return chooseWay(
    b,
    banks[0].weights[0].otherWay,
    areFew,
    (inner) => products(inner, input, counts, banks, ({ product }) => product),
    (inner, otherWay) => {
      const operand = otherWay.prepare(inner, input);
      return products(inner, operand, counts, banks, (weight) => weight.otherWay!.product);
    },
  );
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
