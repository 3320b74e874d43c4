import type { LayerTotals } from './layer-totals.ts';

/** Experts of a layer that a note names; of more it gives the number. */
const mostNamed = 3;

/** Where values of the models were not finite, in a note for each model that had any. */
export function notesOnNonFinite(
  layers: readonly LayerTotals[],
  outputs: { reference: number; quantized: number },
  positions: number,
): string[] {
  return (['reference', 'quantized'] as const).flatMap((side) => {
    const places = layers.flatMap((layer) => placesIn(layer, side));
    if (outputs[side] > 0) places.push(`outputs at ${outputs[side]} of ${positions} positions`);
    return places.length === 0 ? [] : [`Not finite in the ${side} model: ${places.join(', ')}.`];
  });
}

function placesIn({ layer, notFinite, experts }: LayerTotals, side: 'reference' | 'quantized'): string[] {
  const router = side === 'reference' ? notFinite.reference : notFinite.local;
  const isFed = side === 'quantized' && notFinite.cumulative > 0;
  const found = experts.filter((each) => each.notFinite[side] > 0).map(({ expert }) => expert.id);
  const parts = [
    ...(router > 0 ? ['router'] : isFed ? ['router, by its input'] : []),
    ...(found.length > mostNamed ? [`${found.length} experts`] : found.map((id) => `expert ${id}`)),
  ];
  return parts.length === 0 ? [] : [`${layer.id} (${parts.join(', ')})`];
}
