import type { ActivationErrors, TriedGrids } from '../../calibrate/activation-probe.ts';
import { activationProbe } from '../../calibrate/activation-probe.ts';
import type { StatsSource } from '../../calibrate/calibrate-by-layer.ts';
import { activationsNotFinite } from '../../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../../config/schema.ts';
import type { ActivationClips } from '../../emit/forms/activation-clips.ts';
import { noClips } from '../../emit/forms/activation-clips.ts';
import type { Part } from '../../emit/grouped-ffn.ts';
import type { ResolvedTarget } from '../../emit/resolve-target.ts';
import { resolveTarget } from '../../emit/resolve-target.ts';
import { Fault } from '../../fault.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import type { Model } from '../../onnx/model.ts';
import { hasCoarseActivations, schemeOf } from '../../quantize/scheme.ts';
import type { MadeLayer } from '../layer/write-layer.ts';
import { writeLayer } from '../layer/write-layer.ts';
import { calibratesByLayer } from '../model-size.ts';
import { needsRecords } from '../needs-records.ts';

/** Shares of each token's range that are tried, all of it first. */
const ratios = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6];
/** Share of the error that clipping has to take away to be worth two passes over the codes. */
const worthwhile = 0.01;

/** How the activations of a layer are clipped, and what is left of the squared error of their rounding. */
export interface ClippedLayer {
  layer: string;
  clips: ActivationClips;
  error: Record<Part, number>;
}

/** True where activations are clipped as is measured on layers that are written. */
export function measuresClips({ activations, ...config }: QuantizeConfig, hasRecords: boolean): boolean {
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  return activations.clip === 'auto' && hasRecords && hasCoarseActivations(scheme) && target !== 'qmoe';
}

/** True where that is measured layer by layer, on each one's turn, since each is calibrated on its own. */
export function looksInTurn(model: Model, config: QuantizeConfig, hasRecords: boolean): boolean {
  return measuresClips(config, hasRecords) && needsRecords(config) && calibratesByLayer(model, config);
}

/**
 * What a config says of every layer; nothing is clipped where that is to be measured.
 * @throws Fault SCHEME_TARGET where a share is given and no activations below 8 bits are written
 */
export function givenClips({ activations: { clip }, scheme, target }: QuantizeConfig): ActivationClips {
  if (clip === 'auto' || clip === 1) return noClips;
  if (!hasCoarseActivations(schemeOf(scheme)) || target === 'qmoe') throw nothingToClip(scheme, target);
  return { input: clip, hidden: clip };
}

/** The grids that are tried. */
export function triedGrids({ scheme }: ResolvedTarget): TriedGrids {
  return { bits: scheme.activationBits!, ratios };
}

/**
 * For each part of a layer, the share that leaves the least error.
 * @throws Fault ACTIVATIONS_NOT_FINITE
 */
export function bestClips(layer: string, { input, hidden }: ActivationErrors): ClippedLayer {
  const [first, second] = [bestOf(layer, input), bestOf(layer, hidden)];
  return {
    layer,
    clips: { input: first.ratio, hidden: second.ratio },
    error: { input: first.error, hidden: second.error },
  };
}

function bestOf(layer: string, errors: Float64Array): { ratio: number; error: number } {
  const [whole] = errors;
  if (!Number.isFinite(whole)) throw activationsNotFinite(`layer ${layer}`);
  const least = Math.min(...errors.filter(Number.isFinite));
  if (least >= whole * (1 - worthwhile)) return { ratio: 1, error: 1 };
  return { ratio: ratios[errors.indexOf(least)], error: least / whole };
}

/** A layer that is not clipped after all. */
export function unclipped({ layer }: ClippedLayer): ClippedLayer {
  return { layer, clips: noClips, error: { input: 1, hidden: 1 } };
}

export function describeClips({ layer, clips }: ClippedLayer): string {
  return `${layer}: ${clips.input} of the range before gate and up, ${clips.hidden} before down`;
}

function nothingToClip(scheme: string, target: string): Fault {
  return new Fault({
    code: 'SCHEME_TARGET',
    what: 'activations.clip has nothing to clip',
    why: `${target === 'qmoe' ? 'target qmoe' : `scheme ${scheme}`} writes no activations of less than 8 bits`,
    remedy: 'leave the key out',
  });
}

/**
 * Settles `activations.clip: auto` for a layer before it is written, in a model that is run layer by layer: on what it
 * quantizes in a copy of the model that is otherwise as it was.
 */
export async function clipLayer(
  index: number,
  made: MadeLayer,
  { path, resolved, written }: { path: string; resolved: ResolvedTarget; written: Model },
  look: NonNullable<StatsSource['look']>,
): Promise<ClippedLayer> {
  const { model, layers } = prepareModel(path, resolved.opset);
  const settings = { resolved, clips: noClips, fewRowsFrom: Infinity };
  const { rows } = writeLayer(model, layers[index], made, settings);
  const probe = await look(index, written, {
    model,
    attach: (valid) => activationProbe(model.graph, rows!, triedGrids(resolved), valid),
  });
  return bestClips(layers[index].id, probe.errors());
}
