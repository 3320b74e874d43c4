import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { codeOf, isFloatCode } from '../../tensor/dtype.ts';
import { isConstant, scalarOf } from '../graph/constant.ts';
import { onlyCut } from '../graph/cuts.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { isNonNegative } from '../graph/non-negative.ts';
import { layoutOps } from '../graph/operators.ts';
import type { Evidence } from './describe-layer.ts';
import { indexRoots } from './routing-source.ts';

const cuttingOps = new Set(['Slice', 'Split']);

/**
 * The table of gates [tokens, experts] whose places above zero an index lists, as loops over `nonzero(gates[:, e])` or
 * `where(gates[:, e] > 0)` have it: every other gate is zero, so that the table weighs all experts. Null where something
 * else takes part, or where a gate may lie below zero.
 */
export function listedGates(index: Value, { region, facts }: Evidence): Value | null {
  const isEnd = (value: Value): boolean => value.producer?.opType === 'NonZero' || cutsPlaces(value, facts);
  const places = [...indexRoots(index, { region, facts }, isEnd)];
  const tables = new Set(places.map(({ producer }) => producer && tableOf(producer)));
  const [table] = tables;
  return tables.size === 1 && table && isNonNegative(table) ? table : null;
}

/** A cut along an axis of unknown size: it may leave out places, not only coordinates of each. */
function cutsPlaces(value: Value, { shapes }: GraphFacts): boolean {
  return cuttingOps.has(value.producer?.opType ?? '') && onlyCut(value, shapes)?.size == null;
}

/** What a NonZero looks for places in, before columns were picked and zero was compared with. */
function tableOf({ opType, inputs: [mask] }: Node): Value | null {
  if (opType !== 'NonZero') return null;
  let value = mask!;
  while (value.producer && keepsZeros(value.producer)) value = value.producer.inputs[0]!;
  return value;
}

function keepsZeros(node: Node): boolean {
  const [, second] = node.inputs;
  if (node.opType === 'Greater') return scalarOf(second) === 0;
  // Whole numbers would round gates to zero.
  if (node.opType === 'Cast') return isFloatCode(node.int('to')) || node.int('to') === codeOf('bool');
  const isPick = node.opType === 'Gather' && isConstant(second);
  return isPick || layoutOps.has(node.opType) || cuttingOps.has(node.opType);
}

const pickingOps = new Set([...layoutOps, ...cuttingOps, 'Gather', 'GatherND', 'GatherElements']);

/** Whether a weight is picked out of a table, and nothing is done to it on its way. */
export function isPickedFrom(weight: Value, table: Value): boolean {
  let value = weight;
  while (value !== table && pickingOps.has(value.producer?.opType ?? '')) value = value.producer!.inputs[0]!;
  return value === table;
}
