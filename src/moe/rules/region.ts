import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import { aliasesOf, isShapeInput, shapeOps } from '../graph/operators.ts';

/** What a value inside a layer depends on, as bits. */
export const fromInput = 1;
export const fromRouter = 2;
export const fromOutside = 4;

/** Everything that descends from a layer's input, up to where it is added to the residual stream. */
export interface Region {
  input: Value;
  /** The input under all its names. */
  aliases: ReadonlySet<Value>;
  /** In topological order. */
  nodes: Node[];
  /** Bits per value; values that are not in the map do not belong to the region. */
  colour: ReadonlyMap<Value, number>;
  /** Nodes whose outputs count as routing. */
  routers: ReadonlySet<Node>;
  /** A choice of experts that no router makes, which counts as routing too; see `RouterCandidate`. */
  lookedUp: Value | null;
  /** Columns of the router that weigh what every token visits, which do not count as routing. */
  apart: ReadonlySet<Value>;
  /** Additions to the residual stream, which end the region. */
  exits: Node[];
}

/**
 * Forward closure of `input`, cut at additions of an activation that does not descend from it. `routers` are the nodes
 * whose outputs count as router logits rather than as descendants of the input.
 */
export function growRegion(
  input: Value,
  { routers, lookedUp, apart }: Pick<Region, 'routers' | 'lookedUp' | 'apart'>,
  facts: GraphFacts,
): Region {
  const aliases = aliasesOf(input);
  const colour = new Map<Value, number>([[input, fromInput]]);
  if (lookedUp) colour.set(lookedUp, fromRouter);
  const region: Region = { input, aliases, nodes: [], colour, routers, lookedUp, apart, exits: [] };
  const begins = [...colour.keys()];
  // Uses of coloured values that lie ahead; the scan stops when none is left.
  let pending = begins.reduce((sum, { uses }) => sum + uses.length, 0);
  const start = Math.min(
    ...begins.map(({ producer }) => (producer ? (facts.position.get(producer) ?? -1) + 1 : 0)),
  );
  for (let at = start; at < facts.nodes.length && pending > 0; at++) {
    const node = facts.nodes[at];
    const uses = node.inputs.filter((value) => value && colour.has(value)).length;
    pending -= uses;
    if (uses === 0 || shapeOps.has(node.opType)) continue;
    if (isExit(node, region, facts)) {
      region.exits.push(node);
      continue;
    }
    const bits = routers.has(node) ? fromRouter : colourOf(node, colour, facts);
    if (bits === 0) continue;
    region.nodes.push(node);
    for (const output of node.outputs) {
      if (!output || apart.has(output)) continue;
      colour.set(output, bits);
      pending += output.uses.length;
    }
  }
  return region;
}

function colourOf(node: Node, colour: ReadonlyMap<Value, number>, facts: GraphFacts): number {
  let bits = 0;
  node.inputs.forEach((value, index) => {
    if (!value || isShapeInput(node, index)) return;
    bits |= colour.get(value) ?? (facts.isDataless(value) ? 0 : fromOutside);
  });
  return bits & (fromInput | fromRouter) ? bits : 0;
}

const residualOps = new Set([
  'Add',
  'SkipLayerNormalization',
  'SkipSimplifiedLayerNormalization',
  'GatedAdd',
  'Sum',
]);

function isExit(node: Node, { input, colour, aliases }: Region, facts: GraphFacts): boolean {
  if (!residualOps.has(node.opType)) return false;
  // The residual is as wide as the input, or holds several streams of its width side by side (hyper-connections); what a
  // router adds that another one left is narrower.
  const [width, own] = [input, node.outputs[0]!].map((value) => facts.shapes.shapeOf(value)?.at(-1));
  if (typeof width === 'number' && typeof own === 'number' && own % width !== 0) return false;
  const operands = (node.opType.startsWith('Skip') ? node.inputs.slice(0, 2) : node.inputs).filter(
    (value) => value !== null,
  );
  const isBesides = (value: Value): boolean => !colour.has(value) && !facts.isDataless(value);
  const isItself = (value: Value): boolean =>
    aliases.has(value) && operands.some((other) => other !== value && colour.has(other));
  return operands.some((value) => isBesides(value) || isItself(value));
}
