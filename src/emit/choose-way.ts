import type { Builder } from '../onnx/build.ts';
import type { Value } from '../onnx/value.ts';
import { codeOf } from '../tensor/dtype.ts';
import type { OtherWay } from './grouped-ffn.ts';

/** Sums of codes in the usual way, int32; where there is another way, the graph chooses between both. */
export function chooseWay(
  b: Builder,
  otherWay: OtherWay | null | undefined,
  areFew: Value | null,
  usual: (inner: Builder) => Value[],
  other: (inner: Builder, otherWay: OtherWay) => Value[],
): Value[] {
  const condition = otherWay?.when(b, areFew);
  if (!otherWay || !condition) return usual(b);
  const asInt32 = (inner: Builder): Value[] =>
    other(inner, otherWay).map((value) => inner.op('Cast', [value], { to: codeOf('int32') }));
  const then_branch = b.subgraph('other', asInt32);
  const branches = { then_branch, else_branch: b.subgraph('usual', usual) };
  return b.ops(then_branch.outputs.length, 'If', [condition], branches, { name: 'products' });
}
