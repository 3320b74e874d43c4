import type { QuantizeConfig } from '../config/schema.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { hasCoarseActivations } from '../quantize/scheme.ts';
import type { Draft, Drafts } from './drafts.ts';
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

/** What is needed of `Drafts`. */
type TriedDrafts = Pick<Drafts, 'forget'> & {
  write(rotation: SettledRotation): Promise<Pick<Draft, 'distance'>>;
};

/**
 * Settles `rotation.down: auto`: the model is written without and with rotations of the input of `down`, and what comes
 * nearer to the reference on calibration records is taken. A rotation always lowers the error of a layer and yet may
 * raise that of the model, so the model decides. Without records, and where activations keep 8 bits or more, there is no
 * rotation.
 */
export async function settleRotation(
  config: QuantizeConfig,
  hasRecords: boolean,
  drafts: TriedDrafts,
  progress: Progress = () => {},
): Promise<SettledRotation> {
  const candidates = rotationsTried(config, hasRecords);
  if (candidates.length === 1) return candidates[0];
  let best = { rotation: candidates[0], distance: Infinity };
  for (const rotation of candidates) {
    progress({ stage: 'try', detail: `rotation before down: ${rotationName(rotation)}` });
    const draft = await drafts.write(rotation);
    const tried = { rotation, distance: await draft.distance() };
    const [better, worse] = tried.distance < best.distance ? [tried, best] : [best, tried];
    if (worse.rotation !== better.rotation) drafts.forget(worse.rotation);
    best = better;
  }
  return best.rotation;
}
