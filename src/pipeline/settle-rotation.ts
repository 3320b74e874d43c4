import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { Model } from '../onnx/model.ts';
import { hasCoarseActivations } from '../quantize/scheme.ts';
import { tryModel } from './try-model.ts';
import { sessionOptions } from './session-options.ts';

type Rotation = QuantizeConfig['rotation'];
export type SettledRotation = Rotation & { down: Exclude<Rotation['down'], 'auto'> };

/** A config that leaves nothing open. */
export type SettledConfig = QuantizeConfig & { rotation: SettledRotation };

/** The rotations of the input of `down` that a conversion writes: more than one if it is to choose by the records it has. */
export function rotationsTried(config: QuantizeConfig, hasRecords: boolean): SettledRotation['down'][] {
  const { down } = config.rotation;
  if (down !== 'auto') return [down];
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  const isWorthTrying = hasCoarseActivations(scheme) && target !== 'qmoe';
  return hasRecords && isWorthTrying ? ['none', 'hadamard'] : ['none'];
}

/** So many records tell two recipes apart. */
export const recordsTried = 128;

/**
 * Settles `rotation.down: auto`: the model is written with and without a rotation of the input of `down`, and what comes
 * nearer to the reference on calibration records, by the divergence of its output, is taken. A rotation always lowers
 * the error of a layer and yet may raise that of the model, so the model decides. Without records, and where
 * activations keep 8 bits or more, there is no rotation.
 */
export async function settleRotation(
  path: string,
  records: readonly DataRecord[] | null,
  config: QuantizeConfig,
  write: (rotation: SettledRotation) => Promise<{ model: Model }>,
): Promise<SettledRotation> {
  const rest = config.rotation;
  const [first, ...others] = rotationsTried(config, records !== null);
  if (others.length === 0) return { ...rest, down: first };
  const session = sessionOptions(config);
  const divergence = async (down: SettledRotation['down']): Promise<number> => {
    const { model } = await write({ ...rest, down });
    return (await tryModel(path, model, records!.slice(0, recordsTried), session)).output.kl;
  };
  const plain = await divergence('none');
  return { ...rest, down: (await divergence('hadamard')) < plain ? 'hadamard' : 'none' };
}
