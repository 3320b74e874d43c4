import { Fault } from '../fault.ts';
import type { ActivationGrid } from '../quantize/activation.ts';
import type { WeightGroups } from '../quantize/scale-fit.ts';
import type { Scheme, SchemeName } from '../quantize/scheme.ts';
import { hasCoarseActivations, schemeNames, schemeOf } from '../quantize/scheme.ts';

export const targets = ['int', 'qdq', 'nbits', 'qmoe', 'packed'] as const;

/** How experts are written (see the table of targets in the README). */
export type Target = (typeof targets)[number];

/** What is asked for; what is left out is `auto`. */
export interface TargetRequest {
  scheme: SchemeName;
  target?: Target | 'auto';
  /** Weights per scale along the input. */
  group?: number | 'auto' | 'channel';
  /** Activations of less than 8 bits: at most so many channels share a grid, or all of a token. */
  activations?: { block: number | 'auto' | 'token' };
}

/** A combination that can be written. */
export interface ResolvedTarget {
  target: Target;
  scheme: Scheme;
  /** How the scales of rows of `cols` weights are shared: by whole rows, or by groups, in `int` in steps of their row. */
  groupsOf: (cols: number) => WeightGroups;
  /** So many channels of activations share a grid, or somewhat fewer, as the width allows; null for all of a token. */
  block: number | null;
  /** How activations of `width` channels are quantized; null for float. */
  gridOf: (width: number) => ActivationGrid | null;
  /** The operator set the form needs. */
  opset: number;
}

/**
 * Checks that a scheme can be written as a target and settles what was left to us: `auto` becomes the fastest form that
 * is exact for the scheme on ONNX Runtime's CPU provider, group `auto` one scale per channel for integer arithmetic
 * and elsewhere 128 weights, or the largest smaller block that divides the row; activations of less than 8 bits blocks of 16.
 * @throws Fault SCHEME_TARGET or GROUP_TARGET, naming what can be written
 */
export function resolveTarget({
  scheme: name,
  target: requested = 'auto',
  group = 'auto',
  activations = { block: 'auto' },
}: TargetRequest): ResolvedTarget {
  const scheme = schemeOf(name);
  const target = requested === 'auto' ? fastest(scheme) : requested;
  if (!canExpress(target, scheme)) throw inexpressible(target, scheme);
  const block = activationBlock(scheme, activations.block);
  const sizeOf = groupSizes(target, scheme, group);
  return {
    target,
    scheme,
    groupsOf: (cols) => ({ groupSize: sizeOf(cols), inSteps: target === 'int' && sizeOf(cols) < cols }),
    block,
    gridOf: (width) => activationGrid(width, block, scheme),
    opset: scheme.weight.bits === 2 && (target === 'int' || target === 'qdq') ? 25 : 21,
  };
}

/** Activations in integers: integer arithmetic. Otherwise blocks of packed weights on float activations. */
function fastest({ activationBits }: Scheme): Target {
  return activationBits === null ? 'nbits' : 'int';
}

function canExpress(target: Target, { weight, activationBits }: Scheme): boolean {
  switch (target) {
    case 'int':
      return activationBits !== null;
    case 'qdq':
    case 'nbits':
      return true;
    case 'qmoe':
      return activationBits === null;
    default:
      return weight.ternary;
  }
}

const whyNot: Record<Target, string> = {
  int: 'integer arithmetic needs activations in integers',
  qdq: '',
  nbits: '',
  qmoe: 'the fused operator computes its activations in float',
  packed: 'five codes to a byte is a storage for ternary weights',
};

function inexpressible(target: Target, scheme: Scheme): Fault {
  const forScheme = targets.filter((candidate) => canExpress(candidate, scheme));
  const forTarget = schemeNames.filter((candidate) => canExpress(target, schemeOf(candidate)));
  return new Fault({
    code: 'SCHEME_TARGET',
    what: `scheme ${scheme.name} cannot be written as target ${target}`,
    why: whyNot[target],
    remedy: `write ${scheme.name} as ${forScheme.join(', ')} or auto; target ${target} takes ${forTarget.join(', ')}`,
  });
}

function groupSizes(
  target: Target,
  { weight: { bits } }: Scheme,
  group: number | 'auto' | 'channel',
): (cols: number) => number {
  if (group === 'channel' || (target === 'int' && group === 'auto')) return (cols) => cols;
  if (group === 'auto') return blockThatFits;
  if (target === 'int') {
    if (bits < 8) return (cols) => blockWithin(cols, group);
    const why = 'MatMulInteger sums over the whole input, in bytes that 8-bit codes fill by themselves';
    throw groupFault(target, group, why, `channel, or target ${group % 16 === 0 ? 'nbits or ' : ''}qdq`);
  }
  const isBlock = group >= 16 && (target === 'qmoe' ? Number.isInteger(Math.log2(group)) : group % 16 === 0);
  if (target !== 'qdq' && !isBlock) {
    const sizes = target === 'qmoe' ? '16, 32, 64, 128, 256' : 'a multiple of 16';
    throw groupFault(target, group, 'its operator computes in blocks', `${sizes}, or channel`);
  }
  return (cols) => Math.min(group, cols);
}

/** A row up to 128; else 128, or the largest block below it that divides the row, or 128 with a shorter last block. */
function blockThatFits(cols: number): number {
  if (cols <= 128) return cols;
  return [128, 64, 32, 16].find((size) => cols % size === 0) ?? 128;
}

/** So many channels share a grid by default, as in NVFP4: more would be coarser, fewer cost more at run time than they give. */
const defaultBlock = 16;

function activationBlock(scheme: Scheme, requested: number | 'auto' | 'token'): number | null {
  const isCoarse = hasCoarseActivations(scheme);
  if (typeof requested === 'number' && !isCoarse) throw nothingInBlocks(scheme.name);
  if (requested === 'token' || !isCoarse) return null;
  return requested === 'auto' ? defaultBlock : requested;
}

function activationGrid(
  width: number,
  block: number | null,
  { activationBits: bits }: Scheme,
): ActivationGrid | null {
  return bits === null ? null : { bits, width, block: block === null ? width : blockWithin(width, block) };
}

/** The largest block of at most `limit` channels that divides the width; all of it where that is less than half as many. */
function blockWithin(width: number, limit: number): number {
  let block = Math.min(limit, width);
  while (width % block !== 0) block--;
  return block * 2 >= limit ? block : width;
}

function nothingInBlocks(scheme: SchemeName): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: 'activations.block has nothing to divide into blocks',
    why: `scheme ${scheme} writes no activations of less than 8 bits`,
    remedy: 'leave the key out',
  });
}

function groupFault(target: Target, group: number, why: string, remedy: string): Fault {
  return new Fault({
    code: 'GROUP_TARGET',
    what: `target ${target} cannot be written with group ${group}`,
    why,
    remedy: `use group ${remedy}`,
  });
}
