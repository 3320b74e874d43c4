import type { Value } from '../../onnx/value.ts';
import { positiveAxis } from '../graph/axes.ts';
import { onlyCut } from '../graph/cuts.ts';
import { aliasOps, elementwiseOps } from '../graph/operators.ts';
import type { Shapes } from '../graph/shapes.ts';
import type { RouterCandidate } from './anchor.ts';

/** Which column of a router each place of the last axis holds; null where a choice decides. */
export type HeldColumns = readonly (number | null)[];

type Router = Pick<RouterCandidate, 'logits' | 'experts'>;

/** Operators that leave columns where they are, as long as the last axis keeps its width. */
export const keepingColumns = new Set([...elementwiseOps, ...aliasOps, 'Softmax', 'LogSoftmax']);

/** How far a value may stand behind the logits. */
const farthest = 24;

/** The columns of a router that a value holds side by side; null where it is no table of them. */
export function columnsHeld(value: Value, router: Router, shapes: Shapes, hops = 0): HeldColumns | null {
  if (value === router.logits) return Array.from({ length: router.experts }, (_, column) => column);
  const widthOf = (each: Value | null): number | null | undefined => shapes.shapeOf(each)?.at(-1);
  const width = widthOf(value);
  const { opType = '', inputs = [] } = value.producer ?? {};
  if (width == null || width > router.experts || hops > farthest) return null;
  const before = (input: Value | null): HeldColumns | null =>
    input && columnsHeld(input, router, shapes, hops + 1);
  if (opType === 'Slice' || opType === 'Split') return cutColumns(value, before(inputs[0]), shapes);
  if (opType === 'Concat') return joinedColumns(value, inputs.map(before), shapes);
  const kept = keepingColumns.has(opType) ? inputs.filter((input) => widthOf(input) === width) : [];
  const known = kept.map(before).find((columns) => columns?.some((column) => column !== null));
  return known ?? Array.from({ length: width }, () => null);
}

function cutColumns(value: Value, columns: HeldColumns | null, shapes: Shapes): HeldColumns | null {
  const { axis, start, length, step } = onlyCut(value, shapes) ?? {};
  if (!columns || start == null || length == null || step == null) return null;
  if (axis !== shapes.shapeOf(value)!.length - 1) return columns;
  return Array.from({ length }, (_, at) => columns[start + at * step]);
}

function joinedColumns(
  { producer }: Value,
  parts: readonly (HeldColumns | null)[],
  shapes: Shapes,
): HeldColumns | null {
  const rank = shapes.shapeOf(producer!.outputs[0])!.length;
  const isLast = positiveAxis(producer!.int('axis') ?? 0, rank) === rank - 1;
  return isLast && parts.every((part) => part !== null) ? parts.flat() : null;
}
