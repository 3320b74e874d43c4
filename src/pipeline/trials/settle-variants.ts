import type { QuantizeConfig } from '../../config/schema.ts';
import type { Variant } from '../layer/variant.ts';
import { variantName } from '../layer/variant.ts';
import type { Progress } from '../progress.ts';
import type { Drafts } from './drafts.ts';
import type { Distance } from './gauge.ts';
import { joint } from './gauge.ts';
import { variantsTried } from './variants-tried.ts';

/** Models that are tried, if every second one turns out to be mixed; for estimates. */
export function trialsOfVariants(candidates: number, layers: number): number {
  return candidates + (bandsOf(layers).length * (candidates - 1)) / 2;
}

/** A variant that all layers were tried with. */
interface Tried {
  variant: Variant;
  distance: Distance;
}

/**
 * Settles `rotation.down: auto` and `calibration.affinity: auto`, for each layer: the model is written in each variant, and
 * what comes nearest to the reference on calibration records is taken. A rotation always lowers the error of a layer and
 * yet may raise that of the model, so the model decides. Where one variant is best for the output and another for the
 * routers, layers are given different ones; see `mix`.
 */
export async function settleVariants(
  config: QuantizeConfig,
  { layers, hasRecords }: { layers: readonly string[]; hasRecords: boolean },
  drafts: Pick<Drafts, 'distanceOf'>,
  progress: Progress = () => {},
): Promise<Variant[]> {
  const everywhere = (variant: Variant): Variant[] => layers.map(() => variant);
  const candidates = variantsTried(config, hasRecords);
  if (candidates.length === 1) return everywhere(candidates[0]);
  const tried: Tried[] = [];
  for (const variant of candidates) {
    progress({ stage: 'try', detail: `rotation before down: ${variantName(variant)}` });
    tried.push({ variant, distance: await drafts.distanceOf(everywhere(variant)) });
  }
  const nearest = (by: (distance: Distance) => number): Variant =>
    tried.reduce((a, b) => (by(b.distance) < by(a.distance) ? b : a)).variant;
  const best = everywhere(nearest(joint));
  const isBestInBoth = nearest((each) => each.divergence) === nearest((each) => each.rerouted);
  // Layers that were calibrated on what others give, made in one way, do not suit those made in another.
  if (isBestInBoth || config.calibration.sequential) return best;
  const rivals = tried.filter((each) => !isLast(each, tried)).map(({ variant }) => variant);
  return mix(best, rivals, drafts, ([start, end], variant) => {
    const detail = `rotation before down: ${variantName(variant)} in ${layers.slice(start, end).join(', ')}`;
    progress({ stage: 'try', detail });
  });
}

/** True for what is farther than every other in both, and so has nothing to give. */
function isLast({ variant, distance: { divergence, rerouted } }: Tried, tried: readonly Tried[]): boolean {
  return tried.every(
    (other) =>
      other.variant === variant ||
      (other.distance.divergence < divergence && other.distance.rerouted < rerouted),
  );
}

/**
 * Gives layers other variants where the model comes nearer to the reference by it, from the last layer to the first: the
 * last decides about the output and not about any router, the first about the routers of all others.
 */
async function mix(
  settled: Variant[],
  rivals: readonly Variant[],
  drafts: Pick<Drafts, 'distanceOf'>,
  onTrial: (band: Band, variant: Variant) => void,
): Promise<Variant[]> {
  let best = { variants: settled, distance: joint(await drafts.distanceOf(settled)) };
  for (const band of bandsOf(settled.length)) {
    const [start, end] = band;
    const { variants: from } = best;
    for (const variant of rivals.filter((each) => each !== from[start])) {
      onTrial(band, variant);
      const mixed = from.map((each, i) => (i >= start && i < end ? variant : each));
      const distance = joint(await drafts.distanceOf(mixed));
      if (distance < best.distance) best = { variants: mixed, distance };
    }
  }
  return best.variants;
}

/** Layers that are settled together: the first, and the one behind the last. */
type Band = readonly [start: number, end: number];

/**
 * The last layer, the one before it, the two before that, the four before those: few bands whatever the depth, the
 * narrowest where layers differ most in what they decide.
 */
export function bandsOf(layers: number): Band[] {
  const bands: Band[] = [];
  for (let end = layers; end > 0; end = bands.at(-1)![0]) {
    const width = Math.max(1, layers - end);
    bands.push([Math.max(0, end - width), end]);
  }
  return bands;
}
