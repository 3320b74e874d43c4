import type { Builder } from '../onnx/build.ts';
import type { Graph } from '../onnx/graph.ts';
import { sinkConstants } from '../onnx/sink-constants.ts';
import { tensorInfo } from '../onnx/tensor-info.ts';
import type { Value } from '../onnx/value.ts';

/** A result [n, width], by the name it gets; n is 0 where there is nothing to compute. */
export interface ResultRows {
  name: string;
  dtype: 'float32' | 'int32';
  width: number;
}

/** Whether a layer has so many experts that those without tokens count. */
export function areMany(experts: number): boolean {
  return experts >= 16;
}

/**
 * The products of many experts, behind an `If`: where no token comes to them they are not run. Above all they are a graph
 * of their own then. ONNX Runtime (1.30) plans the memory of a graph in a time that grows with the square of the values in
 * it: it loads 24 layers of 32 experts in 3.5 s so, and in 16 s without; and it looks through the names of a graph once for
 * each subgraph, so that what makes weights of constants goes inside, and experts have no `If` each.
 */
export function whereAny(
  b: Builder,
  { isAny, experts }: { isAny: Value; experts: number },
  rows: readonly ResultRows[],
  build: (inner: Builder) => Value[],
): Value[] {
  if (!areMany(experts)) return build(b);
  const then_branch = b.subgraph('experts', build);
  sinkConstants(then_branch);
  const else_branch = b.subgraph('idle', (inner) =>
    rows.map(({ dtype, width }) => inner.constant('none', dtype, [0, width], [])),
  );
  for (const branch of [then_branch, else_branch]) declare(branch, rows);
  const outputs = rows.map(({ name }) => name);
  return b.ops(rows.length, 'If', [isAny], { then_branch, else_branch }, { name: 'if_any', outputs });
}

/** The ONNX checker cannot tell what operators of other domains make. */
function declare({ outputs }: Graph, rows: readonly ResultRows[]): void {
  outputs.forEach((value, i) => (value.info ??= tensorInfo(value.name, rows[i].dtype, 2)));
}
