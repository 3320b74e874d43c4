import { isRotated } from '../emit/forms/rotated-form.ts';
import type { LayerReference, LinearReference, LinearRows } from '../emit/parity-references.ts';
import type { Target } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';

/**
 * One run of a written model's linears, all experts of a layer at a time: plain data, so that any thread can do it. It
 * takes the memory of a third of a layer.
 */
export interface ParityCheck {
  layer: Pick<MoeLayer, 'id' | 'hidden' | 'intermediate'>;
  /**
   * `whole` for the fused operator, whose linears cannot be seen apart; `alone` for a linear that is none of an
   * expert's.
   */
  part: 'gate' | 'up' | 'down' | 'whole' | 'alone';
  /** MatMulNBits in float32 (accuracy level 0), instead of as it is written (level 4). */
  exactKernels: boolean;
  /** Largest accepted error, see `parityTolerance`. */
  tolerance: number;
  /** Of each expert in the order they are written in; of a linear alone one entry. */
  expected: readonly ({ id: string } & LinearRows)[];
}

/** What there is to check of some layers, and of linears beside them. */
export function parityChecks(
  layers: readonly LayerReference[],
  dense: readonly LinearReference[] = [],
): ParityCheck[] {
  return [
    ...layers.flatMap((reference) => [
      ...expertChecks(reference),
      ...(reference.router ? linearChecks(reference.router) : []),
    ]),
    ...dense.flatMap(linearChecks),
  ];
}

function expertChecks(reference: LayerReference): ParityCheck[] {
  const { target, scheme } = reference.resolved;
  const parts = target === 'qmoe' ? (['whole'] as const) : (['gate', 'up', 'down'] as const);
  return parts.flatMap((part) => {
    const expected = reference.experts.flatMap(({ id, [part]: linear }) =>
      linear ? [{ id, ...linear }] : [],
    );
    if (expected.length === 0) return [];
    return kernelsOf(target).map((exactKernels) => {
      const exact = parityTolerance(target, scheme.weight.bits, exactKernels);
      const tolerance = Math.max(exact, isRotated(reference.rotation) ? rotatedTolerance : 0);
      return { layer: placeOf(reference), part, exactKernels, tolerance, expected };
    });
  });
}

function linearChecks(reference: LinearReference): ParityCheck[] {
  const { resolved, width, ...expected } = reference;
  const { target, scheme } = resolved;
  return kernelsOf(target).map((exactKernels) => ({
    layer: { id: expected.id, hidden: width, intermediate: 0 },
    part: 'alone',
    exactKernels,
    tolerance: parityTolerance(target, scheme.weight.bits, exactKernels),
    expected: [expected],
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
