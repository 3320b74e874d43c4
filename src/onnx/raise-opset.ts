import { Fault } from '../fault.ts';
import { builder, setAttribute } from './build.ts';
import { allNodes } from './graph.ts';
import type { Model } from './model.ts';
import { opsetOf } from './model.ts';
import type { Node } from './node.ts';
import type { Value } from './value.ts';

/**
 * Rewrites a model from its operator set (13 or later) to a later one, touching only operators whose meaning
 * or form changed on the way; everything else between 13 and 26 was only widened to more types.
 * @throws Fault OPSET_RAISE for a model below 13, or with local functions that import an older set, or an operator
 * that has no equivalent
 */
export function raiseOpset(model: Model, target: number): void {
  const from = opsetOf(model);
  if (from >= target) return;
  if (from < 13) throw refused(model, `it uses opset ${from}`, 'export it again with opset 13 or later');
  if (model.functions.length > 0) throw refused(model, 'it has local functions', 'inline them first');
  for (const node of allNodes(model.graph)) convert(node, from, target, model);
  model.opsets.set('', target);
  model.irVersion = Math.max(model.irVersion, irVersionFor(target));
}

/** The lowest IR version that may import an operator set (ONNX, docs/Versioning.md). */
function irVersionFor(opset: number): number {
  if (opset >= 25) return 13;
  if (opset >= 24) return 12;
  if (opset >= 23) return 11;
  return opset >= 21 ? 10 : 8;
}

type Change = (node: Node, model: Model) => void;

/** Operator to the version in which its form or meaning changed, and what that asks of an older node. */
const changes: Readonly<Record<string, { since: number; change: Change }>> = {
  // `axes` became an input (ReduceSum's did in 13).
  ReduceL1: { since: 18, change: axesToInput },
  ReduceL2: { since: 18, change: axesToInput },
  ReduceLogSum: { since: 18, change: axesToInput },
  ReduceLogSumExp: { since: 18, change: axesToInput },
  ReduceMax: { since: 18, change: axesToInput },
  ReduceMean: { since: 18, change: axesToInput },
  ReduceMin: { since: 18, change: axesToInput },
  ReduceProd: { since: 18, change: axesToInput },
  ReduceSumSquare: { since: 18, change: axesToInput },
  Split: { since: 18, change: nameSplitCount },
  RoiAlign: { since: 16, change: keepRoiAlignMode },
  DFT: { since: 20, change: axisToInput },
  GridSample: { since: 20, change: renameGridModes },
  GroupNormalization: { since: 21, change: impossible },
};

function convert(node: Node, from: number, target: number, model: Model): void {
  const entry = node.domain === '' ? changes[node.opType] : undefined;
  if (entry && from < entry.since && target >= entry.since) entry.change(node, model);
}

function axesToInput(node: Node): void {
  const axes = node.ints('axes');
  node.attributes.delete('axes');
  if (axes) node.setInput(1, axesConstant(node, axes));
}

function axisToInput(node: Node): void {
  const axis = node.int('axis') ?? 1;
  node.attributes.delete('axis');
  node.setInput(2, axesConstant(node, axis));
}

/** Without sizes, Split had one part per output; from opset 18 that has to be said. */
function nameSplitCount(node: Node): void {
  if (node.inputs[1] || node.attributes.has('num_outputs')) return;
  setAttribute(node, 'num_outputs', node.outputs.length);
}

/** The default of `coordinate_transformation_mode` changed to half_pixel. */
function keepRoiAlignMode(node: Node): void {
  setAttribute(node, 'coordinate_transformation_mode', 'output_half_pixel');
}

function renameGridModes(node: Node): void {
  const renamed = { bilinear: 'linear', bicubic: 'cubic' }[node.string('mode') ?? 'bilinear'];
  if (renamed) setAttribute(node, 'mode', renamed);
}

function impossible(node: Node, model: Model): never {
  throw refused(
    model,
    `node ${node.name} (${node.opType}) has no equivalent in the later set`,
    'export the model again with opset 21 or later',
  );
}

function axesConstant(node: Node, axes: number | readonly number[]): Value {
  return builder(node.graph, node.name || node.opType).ints(axes, 'axes');
}

function refused(model: Model, why: string, remedy: string): Fault {
  return new Fault({
    code: 'OPSET_RAISE',
    what: `the model cannot be brought to a later operator set`,
    where: model.path,
    why,
    remedy,
  });
}
