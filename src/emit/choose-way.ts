import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { OtherWay } from './grouped-ffn.ts';

/** Another way, and when to take it; null for never. */
export interface Choice {
  otherWay: OtherWay | null;
  condition: Value | null;
}

/** A choice whose condition is computed in the graph of `b`, whatever graph it is made in. */
export function choiceOf(b: Builder, otherWay: OtherWay | null | undefined, areFew: Value | null): Choice {
  return { otherWay: otherWay ?? null, condition: otherWay?.when(b, areFew) ?? null };
}

/** Sums of codes in the usual way, int32; where there is another way, the graph chooses between both. */
export function chooseWay(
  b: Builder,
  { otherWay, condition }: Choice,
  usual: (inner: Builder) => Value[],
  other: (inner: Builder, otherWay: OtherWay) => Value[],
): Value[] {
  if (!otherWay || !condition) return usual(b);
  const asInt32 = (inner: Builder): Value[] =>
    other(inner, otherWay).map((value) => inner.op('Cast', [value], { to: codeOf('int32') }));
  const then_branch = b.subgraph('other', asInt32);
  const branches = { then_branch, else_branch: b.subgraph('usual', usual) };
  return b.ops(then_branch.outputs.length, 'If', [condition], branches, { name: 'products' });
}
