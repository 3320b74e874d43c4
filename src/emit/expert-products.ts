import type { Builder } from '../onnx/build.ts';
import { builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { bytesOf } from '../tensor/encode.ts';
import type { Dispatch } from './dispatch-tokens.ts';
import { splitByExpert } from './dispatch-tokens.ts';
import { choiceOf, chooseWay } from './forms/choose-way.ts';
import type { Operand, OtherWay, Product } from './linear-form.ts';
import type { ResultRows } from './where-any.ts';
import { whereAny } from './where-any.ts';

/** An expert's weight that is in the graph already. */
export interface WrittenWeight {
  /** Of the names of the expert's nodes. */
  prefix: string;
  product: Product;
  otherWay?: OtherWay | null;
}

/** The same linear of every expert. */
export interface Bank {
  products: ResultRows;
  weights: readonly WrittenWeight[];
}

/**
 * The rows of every expert times its weight, [S, out], for each of `banks`, which read the same input. Where weights
 * can be multiplied in another way, the graph chooses.
 */
export function expertProducts(
  b: Builder,
  input: Operand,
  { counts, isAny, areFew, experts }: Dispatch,
  banks: readonly Bank[],
): Value[] {
  const [{ weights }] = banks;
  // In the graph around: the other products of a layer read the condition too.
  const choice = choiceOf(b, weights[0].otherWay, areFew);
  const choose = (inner: Builder): Value[] =>
    chooseWay(
      inner,
      choice,
      (way) => products(way, input, counts, banks, ({ product }) => product),
      (way, otherWay) => {
        const operand = otherWay.prepare(way, input);
        const sums = products(way, operand, counts, banks, (weight) => weight.otherWay!.product);
        return sums.map((sum, i) => addApart(way, sum, operand, experts, banks[i]));
      },
    );
  const results = banks.map((bank) => bank.products);
  return whereAny(b, { isAny, experts: weights.length }, results, choose);
}

function products(
  b: Builder,
  input: Operand,
  counts: Value,
  banks: readonly Bank[],
  productOf: (weight: WrittenWeight) => Product,
): Value[] {
  const rows = splitByExpert(b, input.operand, counts, banks[0].weights.length);
  return banks.map(({ products: { name }, weights }) => {
    const parts = weights.map((weight, i) => {
      const inner = builder(b.graph, weight.prefix);
      return productOf(weight)(inner, { ...input, operand: rows[i] });
    });
    return b.op('Concat', parts, { axis: 0 }, { name });
  });
}

/** Adds to the sums [S, out] the products of what the operand lacks. */
function addApart(b: Builder, sums: Value, { apart }: Operand, experts: Value, bank: Bank): Value {
  if (!apart) return sums;
  const { name, width } = bank.products;
  const codes = bank.weights.map(({ otherWay }) => otherWay!.apart!);
  const shape = [codes.length, codes[0].length / width, width];
  const stored = b.constant(`${name}/apart`, 'int8', shape, Buffer.concat(codes.map(bytesOf)));
  const own = b.op('Gather', [b.cast(stored, 'float32'), experts]);
  const products = b.op('Squeeze', [b.op('MatMul', [apart, own]), b.ints([1])]);
  return b.op('Add', [sums, products], {}, { name: `${name}/whole` });
}
