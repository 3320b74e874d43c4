import type { Builder } from '../../onnx/build.ts';
import type { Value } from '../../onnx/value.ts';
import type { OtherWay } from '../linear-form.ts';

/** Another way, and when to take it. */
export interface Choice {
  otherWay: OtherWay;
  condition: Value;
}

/** A choice whose condition is computed in the graph of `b`, whatever graph it is made in; null where there is none. */
export function choiceOf(
  b: Builder,
  otherWay: OtherWay | null | undefined,
  areFew: Value | null,
): Choice | null {
  const condition = otherWay?.when(b, areFew);
  return otherWay && condition ? { otherWay, condition } : null;
}

/** Sums of codes in the usual way, int32; where there is another way, the graph chooses between both. */
export function chooseWay(
  b: Builder,
  choice: Choice | null,
  usual: (inner: Builder) => Value[],
  other: (inner: Builder, otherWay: OtherWay) => Value[],
): Value[] {
  if (!choice) return usual(b);
  const { otherWay, condition } = choice;
  const asInt32 = (inner: Builder): Value[] =>
    other(inner, otherWay).map((value) => inner.cast(value, 'int32'));
  const then_branch = b.subgraph('other', asInt32);
  const branches = { then_branch, else_branch: b.subgraph('usual', usual) };
  return b.ops(then_branch.outputs.length, 'If', [condition], branches, { name: 'products' });
}
