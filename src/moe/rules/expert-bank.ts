import type { Node } from '../../onnx/node.ts';
import type { GraphFacts } from '../graph/graph-facts.ts';
import type { Bias } from '../graph/linear-bias.ts';
import { biasAfter } from '../graph/linear-bias.ts';
import { linearRecord, stackSize, whole } from '../graph/linear-node.ts';
import { numbersProblem } from '../graph/stored-view.ts';
import type { Activation, Linear } from '../moe-layer.ts';
import { expertsInBody } from './bodies.ts';
import type { Branch, Leaf } from './branch.ts';
import { readBranch } from './branch.ts';
import { branchKeys, joinedIndex } from './expert-order.ts';
import type { RegionLinear } from './levels.ts';
import type { Meeting } from './meeting.ts';
import { meetingOf } from './meeting.ts';
import type { Region } from './region.ts';

/** The matrices of one expert, and the router column that selects it (null where the file does not say). */
export interface BankExpert {
  key: number | null;
  gate: Linear | null;
  up: Linear;
  /** Null for experts of one linear. */
  down: Linear | null;
}

/** The routed experts of a layer. */
export interface ExpertBank {
  experts: BankExpert[];
  activation: Activation;
  hidden: number;
  intermediate: number;
  /** One branch per node that multiplies by a down weight. */
  branches: Branch[];
  meetings: (Meeting | null)[];
  /** True when each node holds all experts. */
  isStacked: boolean;
  /** True when each expert's number is a position among the experts that the traced input reached. */
  isHitList: boolean;
  /** The Add that brings in the biases of all down linears at once, after they were laid end to end. */
  joinedBias: Node | null;
  /** What stands against writing its experts anew; empty if nothing does. */
  problem: string;
  warnings: string[];
}

/** Either the bank, or the condition that failed. */
export type BankResult = { bank: ExpertBank } | { reason: string; node: string };

/**
 * Puts the routed linears of a region together to experts: the last linear of each chain is `down`, what its input is
 * made of are `gate` and `up`. All branches must have equal shapes, and weights or columns of the router that tell them apart.
 */
export function expertBank(
  linears: readonly RegionLinear[],
  region: Region,
  facts: GraphFacts,
  columns: number,
): BankResult {
  const routed = linears.filter((linear) => linear.isRouted && !linear.isBeyond);
  if (routed.length === 0) {
    const reason = expertsInBody(region, facts) ?? 'no linear behind it is chosen by its output';
    return failure(reason, linears[0]);
  }
  const inner = new Set(routed.flatMap(({ origins }) => origins));
  const downs = routed.filter((linear) => linear.origins.length > 0 && !inner.has(linear));
  const beyond = linears.filter((linear) => linear.isBeyond && linear.isRouted);
  if (downs.length === 0 && beyond.length >= routed.length * stackSize(routed[0]))
    return failure('the way from its first linears to the next ones was not understood', routed[0]);
  if (downs.length === 0) return singleLinears(routed, region, columns);
  const branches = downs.map((down) => readBranch(down, facts));
  const missing = branches.indexOf(null);
  if (missing >= 0) return failure('the first linears of an expert were not found', downs[missing]);
  return assemble(branches as Branch[], region, facts, columns);
}

/** Experts of one linear each, as in multi-gate recommenders. */
function singleLinears(routed: readonly RegionLinear[], region: Region, columns: number): BankResult {
  const activation = { name: 'unknown', alpha: 1, limit: null, upOffset: 0 } as const;
  const branches = routed.map((linear): Branch => {
    const up = {
      names: [linear.output],
      linears: [linear],
      rows: whole,
      bias: null,
      fused: 'x' as const,
    };
    return { down: linear, gate: null, up, activation };
  });
  const result = assemble(branches, region, null, columns);
  if (!('bank' in result)) return result;
  const { bank } = result;
  const experts = bank.experts.map((expert) => ({ ...expert, down: null }));
  return {
    bank: { ...bank, experts, intermediate: routed[0].out, problem: 'its experts are single linears' },
  };
}

function failure(reason: string, linear: RegionLinear | undefined): BankResult {
  return { reason, node: linear?.node.name ?? '' };
}

function assemble(branches: Branch[], region: Region, facts: GraphFacts | null, columns: number): BankResult {
  const [first] = branches;
  const different = branches.find((branch) => shapeKey(branch) !== shapeKey(first));
  if (different) return failure('its branches have unequal shapes', different.down);
  const unlike = branches.find((branch) => activationKey(branch) !== activationKey(first));
  if (unlike) return failure('its branches have unequal activations', unlike.down);
  const size = stackSize(first.down);
  const { inner, isDeep } = innermost(branches);
  const meetings = branches.map(({ down }) => meetingOf(down.output, region));
  const common = {
    activation: first.activation,
    hidden: inner.in,
    problem: bankProblem(branches, isDeep),
    intermediate: first.down.in,
    branches,
    meetings,
  };
  if (size > 1) {
    if (!stacksAgree(first, size)) return failure('the stacks of its linears differ in length', first.down);
    return {
      bank: {
        ...common,
        experts: stackedExperts(first, size),
        isStacked: true,
        joinedBias: null,
        isHitList: false,
        warnings: [],
      },
    };
  }
  if (branches.length < 2) return failure('there is only one expert', first.down);
  const { keys, isHitList, warnings } = branchKeys(branches, meetings, region, columns);
  // Experts may hold the same weights, as upcycled ones do; without columns of their own they are one linear used twice.
  const names = new Set(branches.map(({ down }) => `${down.view.name} ${down.view.offset}`));
  if (names.size < branches.length && !keys) return failure('its branches share one weight', first.down);
  const added = joinedBias(first, branches.length, meetings[0], facts);
  const experts = branches.map((branch, index) =>
    branchExpert(branch, joinedIndex(meetings[index], index), keys?.[index] ?? null, added?.bias ?? null),
  );
  return {
    bank: { ...common, experts, isStacked: false, isHitList, joinedBias: added?.node ?? null, warnings },
  };
}

/** The first linear of an expert. Linears that all experts read through, such as a projection, are not part of it. */
function innermost(branches: readonly Branch[]): { inner: RegionLinear; isDeep: boolean } {
  let inner = branches[0].up.linears[0];
  let isDeep = false;
  for (;;) {
    const [origin] = inner.origins;
    const isOwn =
      origin &&
      (stackSize(origin) > 1 || branches.slice(1).some(({ up }) => !up.linears[0].origins.includes(origin)));
    if (!isOwn) return { inner, isDeep };
    inner = origin;
    isDeep = true;
  }
}

function bankProblem(branches: readonly Branch[], isDeep: boolean): string {
  const [{ down, up }] = branches;
  const problem = numbersProblem(linearsOf(branches).map(({ view }) => view));
  if (problem) return problem;
  if (isDeep) return 'its experts have more than two linears in a row';
  if (down.node.opType.endsWith('Conv')) return 'its experts are convolutions';
  if (down !== up.linears[0] && down.fused) return `the outputs of its experts pass a fused ${down.fused}`;
  return '';
}

/** Whether the numbers of all weights stand in the file as they are. */
export function isPlain(branches: readonly Branch[]): boolean {
  return linearsOf(branches).every(({ view }) => view.numbers === 'plain');
}

/** The linears that the experts are made of. */
export function linearsOf(branches: readonly Branch[]): RegionLinear[] {
  return branches.flatMap(({ down, up, gate }) => [down, ...up.linears, ...(gate?.linears ?? [])]);
}

function activationKey({ activation }: Branch): string {
  return JSON.stringify(activation);
}

function shapeKey({ down, gate, up }: Branch): string {
  return [down.in, down.out, leafKey(gate), leafKey(up), stackSize(down)].join(' ');
}

function leafKey(leaf: Leaf | null): string {
  if (!leaf) return '';
  const [linear] = leaf.linears;
  return [linear.in, linear.out, leaf.rows.start, leaf.rows.step].join('/');
}

function stacksAgree({ gate, up }: Branch, size: number): boolean {
  return [gate, up].every(
    (leaf) => !leaf || (leaf.linears.length === 1 && stackSize(leaf.linears[0]) === size),
  );
}

function stackedExperts({ down, gate, up }: Branch, size: number): BankExpert[] {
  return Array.from({ length: size }, (_, key) => ({
    key,
    gate: gate && linearRecord(gate.linears[0], key, gate.rows),
    up: linearRecord(up.linears[0], key, up.rows),
    down: linearRecord(down, key),
  }));
}

function branchExpert(
  { down, gate, up }: Branch,
  index: number,
  key: number | null,
  added: Bias | null,
): BankExpert {
  const pick = ({ linears, rows, bias }: Leaf): Linear =>
    linearRecord(linears[linears.length === 1 ? 0 : index], null, rows, bias && { bias, index });
  return {
    key,
    gate: gate && pick(gate),
    up: pick(up),
    down: linearRecord(down, null, whole, added && { bias: added, index }),
  };
}

function joinedBias(
  { down }: Branch,
  count: number,
  meeting: Meeting | null,
  facts: GraphFacts | null,
): ReturnType<typeof biasAfter> {
  if (meeting?.node.opType !== 'Concat' || !facts) return null;
  return biasAfter(meeting.node.outputs[0]!, down.out, count, true, facts.shapes);
}
