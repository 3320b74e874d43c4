import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { axesOf, positiveAxis } from '../graph/axes.ts';
import { scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import { aliasOps, aliasRoot } from '../graph/operators.ts';
import type { Shapes } from '../graph/shapes.ts';

/**
 * The mask whose places `rows` lists, all of them and each by all its coordinates: no place comes twice. What the mask was
 * spread over behind its own axes is seen through, as exporters spread it over channels to write `table[mask] = …`.
 */
export function maskOf(rows: Value, shapes: Shapes): Value | null {
  let value = rows;
  while (value.producer && keepsPlaces(value.producer, shapes)) value = value.producer.inputs[0]!;
  const mask = value.producer?.opType === 'NonZero' ? value.producer.inputs[0] : null;
  return mask && unspread(mask, shapes);
}

/** Positions under another layout; where each has one coordinate, picking that one is no more than that. */
function keepsPlaces(node: Node, shapes: Shapes): boolean {
  const [data, index] = node.inputs;
  if (node.opType === 'Gather')
    return scalarOf(index) === 0 && shapes.shapeOf(data)?.at(node.int('axis') ?? 0) === 1;
  return (
    aliasOps.has(node.opType) || node.opType === 'Transpose' || onlyCut(node.outputs[0]!, shapes)?.size === 1
  );
}

/** A value before it was repeated along axes behind its own. */
export function unspread(spread: Value, shapes: Shapes): Value {
  let value = spread;
  while (value.producer && spreads(value.producer, shapes)) value = value.producer.inputs[0]!;
  return value;
}

function spreads(node: Node, shapes: Shapes): boolean {
  const rank = shapes.shapeOf(node.outputs[0])?.length;
  if (node.opType === 'Expand') return rank === shapes.shapeOf(node.inputs[0])?.length;
  const [axis, ...others] = (node.opType === 'Unsqueeze' && axesOf(node)) || [];
  return (
    rank !== undefined && axis !== undefined && others.length === 0 && positiveAxis(axis, rank) === rank - 1
  );
}

/** What a mask compares with a number, under the name it has before reshapes; null for any other mask. */
export function comparisonOf(mask: Value): { choice: Value; number: number } | null {
  const equal = aliasRoot(mask).producer;
  if (equal?.opType !== 'Equal') return null;
  const [[number], [choice, ...others]] = [
    equal.inputs.map(scalarOf).filter((each) => each !== null),
    equal.inputs.filter((input) => scalarOf(input) === null),
  ];
  return number !== undefined && choice && others.length === 0 ? { choice: aliasRoot(choice), number } : null;
}

/** A slice of the first elements, as many as a scatter has places for: with any other number the graph does not run. */
export function isMadeToFit(node: Node, shapes: Shapes): boolean {
  const [part] = node.outputs;
  const [use, ...others] = part!.uses;
  const cut = node.opType === 'Slice' ? onlyCut(part!, shapes) : null;
  const isFirst = cut?.axis === 0 && cut.start === 0 && cut.step === 1;
  return isFirst && others.length === 0 && use?.node.opType === 'ScatterND' && use.index === 2;
}
