import { isRotated } from '../emit/forms/rotated-form.ts';
import type {
  ExpertReference,
  LayerReference,
  LinearReference,
  LinearRows,
} from '../emit/parity-references.ts';
import type { Target } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';

/** A linear of experts; `whole` for the fused operator, whose linears cannot be seen apart; `alone` for any other linear. */
type Part = 'gate' | 'up' | 'down' | 'whole' | 'alone';

/**
 * One run of a written model's linears, those of some experts of a layer at a time: plain data, so that any thread can do
 * it. It takes the memory of so many weights as may be run at a time, or of one expert.
 */
export interface ParityCheck {
  layer: Pick<MoeLayer, 'id' | 'hidden' | 'intermediate'>;
  /** The experts that are run, by the place of the first in the layer's list, and how many there are in that. */
  experts: { first: number; of: number };
  /** MatMulNBits in float32 (accuracy level 0), instead of as it is written (level 4). */
  exactKernels: boolean;
  /** Largest accepted error, see `parityTolerance`. */
  tolerance: number;
  /** What is looked at; more than one part only of those that read the same rows, for they may be one product. */
  expected: readonly ExpectedPart[];
}

/** What a part must compute. */
export interface ExpectedPart {
  part: Part;
  /** Of each expert that is run; of a linear alone one entry. */
  rows: readonly ({ id: string } & LinearRows)[];
}

/**
 * What there is to check of some layers, and of linears beside them. `mostWeights` are run at a time, but for those of a
 * fused operator.
 */
export function parityChecks(
  layers: readonly LayerReference[],
  dense: readonly LinearReference[] = [],
  mostWeights = 2 ** 25,
): ParityCheck[] {
  return [
    ...layers.flatMap((reference) => [
      ...expertChecks(reference, mostWeights),
      ...(reference.router ? linearChecks(reference.router) : []),
    ]),
    ...dense.flatMap(linearChecks),
  ];
}

function expertChecks(reference: LayerReference, mostWeights: number): ParityCheck[] {
  const { experts, resolved, rotation } = reference;
  const { target, scheme } = resolved;
  const runs = target === 'qmoe' ? [['whole'] as const] : [['gate', 'up'] as const, ['down'] as const];
  return runs.flatMap((parts) =>
    portionsOf(reference, mostWeights / parts.length).flatMap(({ first, portion }) =>
      kernelsOf(target).map((exactKernels): ParityCheck => {
        const exact = parityTolerance(target, scheme.weight.bits, exactKernels);
        const tolerance = Math.max(exact, isRotated(rotation) ? rotatedTolerance : 0);
        const expected = parts.flatMap((part) => expectedPart(portion, part));
        return {
          layer: placeOf(reference),
          experts: { first, of: experts.length },
          exactKernels,
          tolerance,
          expected,
        };
      }),
    ),
  );
}

/** The experts of a layer by so many as have that many weights in a linear; all of a fused operator, which is one node. */
function portionsOf(
  { layer: { hidden, intermediate }, experts, resolved: { target } }: LayerReference,
  mostWeights: number,
): { first: number; portion: readonly ExpertReference[] }[] {
  const most = Math.max(1, Math.floor(mostWeights / (hidden * intermediate)));
  const length = target === 'qmoe' ? experts.length : most;
  return Array.from({ length: Math.ceil(experts.length / length) }, (_, i) => ({
    first: i * length,
    portion: experts.slice(i * length, (i + 1) * length),
  }));
}

/** None for the gate of experts that have none. */
function expectedPart(
  experts: readonly ExpertReference[],
  part: 'gate' | 'up' | 'down' | 'whole',
): ExpectedPart[] {
  const rows = experts.flatMap(({ id, [part]: linear }) => (linear ? [{ id, ...linear }] : []));
  return rows.length > 0 ? [{ part, rows }] : [];
}

function linearChecks(reference: LinearReference): ParityCheck[] {
  const { resolved, width, ...expected } = reference;
  const { target, scheme } = resolved;
  return kernelsOf(target).map((exactKernels) => ({
    layer: { id: expected.id, hidden: width, intermediate: 0 },
    experts: { first: 0, of: 0 },
    exactKernels,
    tolerance: parityTolerance(target, scheme.weight.bits, exactKernels),
    expected: [{ part: 'alone', rows: [expected] }],
  }));
}

/** MatMulNBits is run exactly, and as it is written. */
function kernelsOf(target: Target): boolean[] {
  return target === 'nbits' || target === 'packed' ? [true, false] : [false];
}

function placeOf({ layer: { id, hidden, intermediate } }: LayerReference): ParityCheck['layer'] {
  return { id, hidden, intermediate };
}

/**
 * Largest accepted error of a written linear against the reference dequantization: of any value relative to the largest
 * of its row where the kernel is exact, of the whole relative to its norm where it rounds; with or without the bias, what
 * is larger. MatMulNBits is checked in
 * float32 (accuracy level 0) and as it is written (level 4, which rounds activations to 8 bits per block); QMoE computes
 * 2-bit blocks from tables of 8-bit activations.
 */
export function parityTolerance(target: Target, bits: number, exactKernels: boolean): number {
  if (target === 'qmoe') return bits === 2 ? 5e-2 : 1e-4;
  return target === 'int' || target === 'qdq' || exactKernels ? exactTolerance : 2e-2;
}

const exactTolerance = 1e-5;
/** Behind a rotation, computed in another order here and there, a value on a tie may fall to either code. */
const rotatedTolerance = 1e-2;
