import { Fault } from '../fault.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { ExpertEmitter, QuantizedExpert } from './expert-emitter.ts';
import { intForm } from './forms/int-form.ts';
import type { AccuracyLevel } from './forms/nbits-form.ts';
import { nbitsForm } from './forms/nbits-form.ts';
import { qdqForm } from './forms/qdq-form.ts';
import { qmoeLayer, requireFusible } from './forms/qmoe-layer.ts';
import type { RotationBlocks } from './forms/rotated-form.ts';
import { isRotated, noRotation, rotatedForm } from './forms/rotated-form.ts';
import { groupedFfn } from './grouped-ffn.ts';
import type { LinearForm } from './linear-form.ts';
import type { ResolvedTarget } from './resolve-target.ts';

export interface EmitterOptions {
  layer: MoeLayer;
  /** The quantized weights of an expert; called once per expert. */
  weightsOf: (expert: Expert) => QuantizedExpert;
  /** In front of the linears; the weights are rotated already. None by default. */
  rotation?: RotationBlocks;
  /**
   * Linears of integer arithmetic with more weights than this are also written for few tokens; Infinity for none. Costs
   * memory (about one byte more per weight, and five more while ONNX Runtime loads the model) and an operator outside
   * the ONNX standard. By default as it pays, see "What was tried" in the benchmarks.
   */
  fewRowsAbove?: number;
  /** Of MatMulNBits; see there. */
  accuracyLevel?: AccuracyLevel;
}

/**
 * Whether a layer can be written, told before its weights are made.
 * @throws Fault SCHEME_TARGET for a layer or rotation that a fused operator cannot express
 */
export function requireEmittable(
  { target, groupsOf }: ResolvedTarget,
  layer: MoeLayer,
  rotation: RotationBlocks,
): void {
  if (target !== 'qmoe') return;
  if (isRotated(rotation)) throw cannotRotate();
  requireFusible(layer, groupsOf);
}

/**
 * What writes the experts of a layer for a target and scheme.
 * @throws Fault those of `requireEmittable`
 */
export function emitterFor(
  resolved: ResolvedTarget,
  { layer, weightsOf, rotation = noRotation, fewRowsAbove = 2 ** 19, accuracyLevel = 4 }: EmitterOptions,
): ExpertEmitter {
  const { target, gridOf } = resolved;
  requireEmittable(resolved, layer, rotation);
  const grouped = (form: LinearForm): ExpertEmitter =>
    groupedFfn(layer, weightsOf, rotatedForm(form, rotation));
  switch (target) {
    case 'int':
      return grouped(intForm((width) => gridOf(width)!, fewRowsAbove));
    case 'qdq':
      return grouped(qdqForm(gridOf));
    case 'nbits':
      return grouped(nbitsForm({ gridOf, accuracyLevel, packed: false }));
    case 'packed':
      return grouped(nbitsForm({ gridOf, accuracyLevel, packed: true }));
    default:
      return qmoeLayer(layer, weightsOf);
  }
}

function cannotRotate(): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: 'target qmoe cannot be written with a rotation',
    why: 'the fused operator leaves no place for it between its linears',
    remedy: 'use --set rotation.input=none --set rotation.down=none, or another target',
  });
}
