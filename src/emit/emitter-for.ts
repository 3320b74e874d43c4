import { Fault } from '../fault.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { ExpertEmitter, QuantizedExpert } from './expert-emitter.ts';
import type { FormOptions } from './forms/form-of.ts';
import { formOf } from './forms/form-of.ts';
import { qmoeLayer, requireFusible } from './forms/qmoe-layer.ts';
import type { RotationBlocks } from './forms/rotated-form.ts';
import { isRotated, noRotation, rotatedForm } from './forms/rotated-form.ts';
import { groupedFfn } from './grouped-ffn.ts';
import type { ResolvedTarget } from './resolve-target.ts';

export interface EmitterOptions extends Partial<FormOptions> {
  layer: MoeLayer;
  /** The quantized weights of an expert; called once per expert. */
  weightsOf: (expert: Expert) => QuantizedExpert;
  /** In front of the linears; the weights are rotated already. None by default. */
  rotation?: RotationBlocks;
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
 * What writes the experts of a layer for a target and scheme. By default linears are written for few tokens too where that
 * pays, see "What was tried" in the benchmarks.
 * @throws Fault those of `requireEmittable`
 */
export function emitterFor(
  resolved: ResolvedTarget,
  { layer, weightsOf, rotation = noRotation, fewRowsAbove = 2 ** 19, accuracyLevel = 4 }: EmitterOptions,
): ExpertEmitter {
  requireEmittable(resolved, layer, rotation);
  if (resolved.target === 'qmoe') return qmoeLayer(layer, weightsOf);
  const form = formOf(resolved, { fewRowsAbove, accuracyLevel });
  return groupedFfn(layer, weightsOf, rotatedForm(form, rotation));
}

function cannotRotate(): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: 'target qmoe cannot be written with a rotation',
    why: 'the fused operator leaves no place for it between its linears',
    remedy: 'use --set rotation.input=none --set rotation.down=none, or another target',
  });
}
