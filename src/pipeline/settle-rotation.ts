import type { QuantizeConfig } from '../config/schema.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { hasCoarseActivations } from '../quantize/scheme.ts';
import type { Distance } from './distance.ts';
import { joint } from './distance.ts';
import type { Drafts } from './drafts.ts';
import type { Progress } from './progress.ts';

type Rotation = QuantizeConfig['rotation'];
export type SettledRotation = Rotation & { down: Exclude<Rotation['down'], 'auto'> };

/** A config that leaves nothing open. */
export type SettledConfig = QuantizeConfig & { rotation: SettledRotation };

/** Blocks that are tried: of few channels, which keep a lonely peak what it is, and of as many as there are. */
const blocksTried = [4, 16, 'auto'] as const;

/** The rotations of the input of `down` that a conversion writes: more than one if it is to choose by the records it has. */
export function rotationsTried(config: QuantizeConfig, hasRecords: boolean): SettledRotation[] {
  const { down, block, ...rest } = config.rotation;
  if (down !== 'auto') return [{ ...rest, block, down }];
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  const isWorthTrying = hasCoarseActivations(scheme) && target !== 'qmoe';
  const blocks = hasRecords && isWorthTrying ? (block === 'auto' ? blocksTried : [block]) : [];
  const rotated = blocks.map((each) => ({ ...rest, block: each, down: 'hadamard' as const }));
  return [{ ...rest, block, down: 'none' }, ...rotated];
}

/** What tells rotations that are tried from each other: `none`, `hadamard`, `hadamard of 16`. */
export function rotationName({ down, block }: SettledRotation): string {
  return down === 'none' || block === 'auto' ? down : `${down} of ${block}`;
}

/** Models that are tried, if every second one turns out to be mixed; for estimates. */
export function rotationTrials(candidates: number, layers: number): number {
  return candidates + (bandsOf(layers).length * (candidates - 1)) / 2;
}

/** A rotation that all layers were tried with. */
interface Tried {
  rotation: SettledRotation;
  distance: Distance;
}

/**
 * Settles `rotation.down: auto`, for each layer: the model is written without and with rotations of the input of `down`,
 * and what comes nearest to the reference on calibration records is taken. A rotation always lowers the error of a layer
 * and yet may raise that of the model, so the model decides. Where one is best for the output and another for the routers,
 * layers are given different ones; see `mix`. Without records, and where activations keep 8 bits or more, there is no
 * rotation.
 */
export async function settleRotation(
  config: QuantizeConfig,
  { layers, hasRecords }: { layers: readonly string[]; hasRecords: boolean },
  drafts: Pick<Drafts, 'distanceOf'>,
  progress: Progress = () => {},
): Promise<SettledRotation[]> {
  const everywhere = (rotation: SettledRotation): SettledRotation[] => layers.map(() => rotation);
  const candidates = rotationsTried(config, hasRecords);
  if (candidates.length === 1) return everywhere(candidates[0]);
  const tried: Tried[] = [];
  for (const rotation of candidates) {
    progress({ stage: 'try', detail: `rotation before down: ${rotationName(rotation)}` });
    tried.push({ rotation, distance: await drafts.distanceOf(everywhere(rotation)) });
  }
  const nearest = (by: (distance: Distance) => number): SettledRotation =>
    tried.reduce((a, b) => (by(b.distance) < by(a.distance) ? b : a)).rotation;
  const best = everywhere(nearest(joint));
  const isBestInBoth = nearest((each) => each.divergence) === nearest((each) => each.rerouted);
  // Layers that were calibrated on what rotated ones give do not suit others.
  return isBestInBoth || config.calibration.sequential
    ? best
    : mix(best, candidates, drafts, ([start, end], rotation) =>
        progress({
          stage: 'try',
          detail: `${rotationName(rotation)} in ${layers.slice(start, end).join(', ')}`,
        }),
      );
}

/**
 * Gives layers other rotations where the model comes nearer to the reference by it, from the last layer to the first: the
 * last decides about the output and not about any router, the first about the routers of all others.
 */
async function mix(
  settled: SettledRotation[],
  candidates: readonly SettledRotation[],
  drafts: Pick<Drafts, 'distanceOf'>,
  onTrial: (band: Band, rotation: SettledRotation) => void,
): Promise<SettledRotation[]> {
  let best = { rotations: settled, distance: joint(await drafts.distanceOf(settled)) };
  for (const band of bandsOf(settled.length)) {
    const [start, end] = band;
    const { rotations: from } = best;
    for (const rotation of candidates.filter((each) => each !== from[start])) {
      onTrial(band, rotation);
      const mixed = from.map((each, i) => (i >= start && i < end ? rotation : each));
      const distance = joint(await drafts.distanceOf(mixed));
      if (distance < best.distance) best = { rotations: mixed, distance };
    }
  }
  return best.rotations;
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
