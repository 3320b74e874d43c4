import type { Node } from '../../onnx/node.ts';
import type { Value } from '../../onnx/value.ts';
import { isZero, scalarOf } from '../graph/constant.ts';
import { layoutRoot } from '../graph/operators.ts';
import type { Context, Step, Weighing } from './combine-step.ts';
import { nextStep } from './combine-step.ts';
import type { Evidence } from './describe-layer.ts';
import type { RegionLinear } from './levels.ts';
import { writesApart } from './writes-apart.ts';

/** How the outputs of the experts become the output of the layer. */
export interface Combination {
  /** The sum over the routed experts. */
  output: Value;
  /** Per branch, the routing values it is multiplied by on its way, and the node that does so. */
  weights: Weighing[][];
  /** Selections of rows by the routing after the experts (un-sorting, or choosing among all experts' outputs). */
  selections: Node[];
  /** Sums over an axis of experts or choices. */
  sums: Node[];
  /** What every expert's output is multiplied by besides. */
  factor: number;
}

/**
 * Follows the outputs of all experts, through multiplications by the routing, scatters, selections and sums, to where
 * they have become one value. Only operators that are linear in the experts' outputs are passed; a string tells which
 * one was not.
 */
export function combination(evidence: Evidence, topK: number | null): Combination | string {
  const downs = evidence.bank.branches.map(({ down }) => down);
  const context = {
    ...evidence,
    fromDowns: reach(downs, evidence),
    fromOthers: reach(otherLinears(evidence), evidence),
  };
  const paths = new Map<Value, Step[]>();
  const walks = downs.map((down) => walk(down.output, context, paths));
  const [first] = walks;
  const last = first.findLastIndex((step) => step.weighing || step.selection || step.sum || step.isJoin);
  const output = last < 0 ? downs[0].output : first[last].value;
  const lost = walks.findIndex((steps) => steps.length > 0 && !steps.some(({ value }) => value === output));
  if (lost > 0 || (downs.length > 1 && last < 0))
    return lostMessage(downs[Math.max(lost, 0)], walks[Math.max(lost, 0)]);
  for (const steps of walks) {
    const problem = overwriteProblem(steps, evidence, topK);
    if (problem) return problem;
  }
  const ways = walks.map((steps) => steps.slice(0, steps.findIndex(({ value }) => value === output) + 1));
  const [factor, ...others] = new Set(
    ways.map((way) => way.reduce((product, step) => product * step.factor, 1)),
  );
  if (others.length > 0) return 'the outputs of its experts are multiplied by unequal numbers';
  return {
    output,
    weights: ways.map((way) => way.flatMap(({ weighing }) => weighing ?? [])),
    selections: ways[0].flatMap(({ selection }) => selection ?? []),
    sums: ways[0].flatMap(({ sum }) => sum ?? []),
    factor,
  };
}

/** Says where the way of an expert's output ended before it met the others. */
function lostMessage(down: RegionLinear, steps: readonly Step[]): string {
  const end = steps.at(-1)?.value ?? down.output;
  const stop = end.uses.map(({ node }) => node.name || node.opType).join(' and ') || 'an output of the graph';
  return `the output of ${down.node.name} is not added to that of the other experts: ${stop} stands between`;
}

function otherLinears({ linears, bank }: Evidence): RegionLinear[] {
  const own = new Set(bank.branches.map(({ down }) => down.node));
  return linears.filter(({ node, isRouted, isBeyond }) => !own.has(node) && !isRouted && !isBeyond);
}

/** Everything in the region that descends from the outputs of some linears. */
function reach(linears: readonly RegionLinear[], { region }: Evidence): Set<Value> {
  const reached = new Set(linears.map(({ product }) => product));
  for (const node of region.nodes) {
    // What a router reads does not make its choice part of what it read.
    if (region.routers.has(node)) continue;
    if (!node.inputs.some((input) => input && reached.has(input))) continue;
    for (const output of node.outputs) if (output) reached.add(output);
  }
  return reached;
}

/** Steps from `start` to where the way ends. Ways that run together share their rest. */
function walk(start: Value, context: Context, paths: Map<Value, Step[]>): Step[] {
  const steps: Step[] = [];
  let value = start;
  while (steps.length < 100_000) {
    const known = paths.get(value);
    if (known) {
      steps.push(...known);
      break;
    }
    const step = nextStep(value, context);
    if (!step) break;
    steps.push(step);
    value = step.value;
  }
  // Later branches meet an earlier one at a join.
  steps.forEach((step, index) => {
    if (step.isJoin && !paths.has(step.value)) paths.set(step.value, steps.slice(index + 1));
  });
  return steps;
}

/**
 * A scatter that overwrites is a sum only while no row comes twice: where each token visits one expert, or where the rows
 * of one expert go into zeros.
 */
function overwriteProblem(steps: readonly Step[], evidence: Evidence, topK: number | null): string | null {
  const { bank } = evidence;
  const mixing = steps.find(({ overwrite }) => overwrite && overwrite.reduction !== 'none')?.overwrite;
  if (mixing)
    return `${mixing.node.name} puts together by ${mixing.reduction}, not by a sum, what experts gave`;
  const at = steps.findIndex(({ overwrite }) => overwrite);
  const found = steps[at]?.overwrite;
  if (!found || topK === 1) return null;
  const isJoined = steps.slice(0, at).some(({ isJoin }) => isJoin);
  if (bank.branches.length > 1 && !isJoined && isZero(found.data)) return null;
  // Rows of sorted tokens laid end to end, and rows put back where a sort took them from.
  const isWeighed = steps.slice(0, at).some(({ weighing }) => weighing);
  if (!isWeighed && bank.branches[0].up.linears.length > 1 && !isJoined)
    return overwriteProblem(pastPlacing(steps, at), evidence, topK);
  if (writesApart(found.node, evidence.facts.shapes))
    return overwriteProblem(steps.slice(at + 1), evidence, topK);
  if (isPermutation(found.node.inputs[1]!)) return null;
  return `${found.node.name} overwrites what other experts of a token gave`;
}

/** The steps after a chain of writes that lays the rows of all experts end to end. */
function pastPlacing(steps: readonly Step[], at: number): Step[] {
  let end = at;
  while (steps[end + 1]?.overwrite?.data === steps[end].value) end += 1;
  return steps.slice(end + 1);
}

/** True for the positions that a sort gives: each row comes once. */
function isPermutation(index: Value): boolean {
  const value = layoutRoot(index);
  const node = value.producer;
  return node?.opType === 'TopK' && node.outputs[1] === value && scalarOf(node.inputs[1]) === null;
}
