import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { ExpertEmitter } from './expert-emitter.ts';
import { groupedFfn } from './grouped-ffn.ts';
import { intForm } from './int-form.ts';
import type { AccuracyLevel } from './nbits-form.ts';
import { nbitsForm } from './nbits-form.ts';
import { qdqForm } from './qdq-form.ts';
import { qmoeLayer } from './qmoe-layer.ts';
import type { QuantizedExpert } from './quantized-expert.ts';
import type { ResolvedTarget } from './resolve-target.ts';
import { roundScales } from './round-scales.ts';

export interface EmitterOptions {
  layer: MoeLayer;
  /** The quantized weights of an expert; called once per expert. */
  weightsOf: (expert: Expert) => QuantizedExpert;
  /** Of MatMulNBits; see there. */
  accuracyLevel?: AccuracyLevel;
}

/** What writes the experts of a layer for a target and scheme. */
export function emitterFor(
  { target, scheme: { activationBits } }: ResolvedTarget,
  { layer, weightsOf, accuracyLevel = 4 }: EmitterOptions,
): ExpertEmitter {
  switch (target) {
    case 'int':
      return groupedFfn(layer, weightsOf, intForm(activationBits!));
    case 'qdq':
      return groupedFfn(layer, weightsOf, qdqForm(activationBits));
    case 'nbits':
      return groupedFfn(layer, weightsOf, nbitsForm({ activationBits, accuracyLevel, packed: false }));
    case 'packed': {
      const rounded = (expert: Expert): QuantizedExpert => roundScales(weightsOf(expert));
      return groupedFfn(layer, rounded, nbitsForm({ activationBits, accuracyLevel, packed: true }));
    }
    default:
      return qmoeLayer(layer, weightsOf);
  }
}
