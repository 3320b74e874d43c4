import { measureActivations } from '../calibrate/measure-activations.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { DataRecord } from '../data/record.ts';
import type { ActivationClips } from '../emit/activation-clips.ts';
import { isClipped, noClips } from '../emit/activation-clips.ts';
import type { Part } from '../emit/grouped-ffn.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import { hasCoarseActivations } from '../quantize/scheme.ts';
import type { Draft } from './drafts.ts';
import type { Progress } from './progress.ts';
import { sessionOptions } from './session-options.ts';
import type { Workshop } from './workshop.ts';
import type { WrittenModel } from './write-experts.ts';
import { writeExperts } from './write-experts.ts';

/** Shares of each token's range that are tried, all of it first. */
const ratios = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6];
/** So many records tell them apart. */
export const recordsClipped = 128;
/** Share of the error that clipping has to take away to be worth two passes over the codes. */
const worthwhile = 0.01;

/** How the activations of a layer are clipped, and what is left of the squared error of their rounding. */
export interface ClippedLayer {
  layer: string;
  clips: ActivationClips;
  error: Record<Part, number>;
}

/** True where activations are clipped as is measured on a model that is written. */
export function measuresClips({ activations, ...config }: QuantizeConfig, hasRecords: boolean): boolean {
  const { target, scheme } = resolveTarget(config.target, config.scheme, config.group);
  return activations.clip === 'auto' && hasRecords && hasCoarseActivations(scheme) && target !== 'qmoe';
}

/** What a config says of every layer; nothing is clipped where that is to be measured. */
export function givenClips({ activations: { clip } }: QuantizeConfig): ActivationClips {
  return clip === 'auto' ? noClips : { input: clip, hidden: clip };
}

/**
 * Settles `activations.clip: auto` and writes the draft anew where clipping takes away error: for each layer, in front of
 * gate and up and in front of down, the share of a token's range that leaves the least squared error on what the draft
 * really quantizes.
 */
export async function clipDraft(
  draft: Draft,
  records: readonly DataRecord[],
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Promise<{ layers: ClippedLayer[]; written: WrittenModel }> {
  progress({ stage: 'clip', detail: 'activations, by what rounding them costs' });
  const layers = await workshop.remember('clip', () => settleClips(draft, records));
  for (const { layer, clips } of layers)
    progress({
      stage: 'clip',
      detail: `${layer}: ${clips.input} before gate and up, ${clips.hidden} before down`,
    });
  if (!layers.some(({ clips }) => isClipped(clips))) return { layers, written: draft.written };
  const order = { ...draft.order, clipsOf: (index: number) => layers[index].clips };
  return { layers, written: await writeExperts(order, progress, workshop) };
}

async function settleClips(
  { order: { config, resolved }, written: { model, rows, probes } }: Draft,
  records: readonly DataRecord[],
): Promise<ClippedLayer[]> {
  const batches = [...makeBatches(records.slice(0, recordsClipped), declaredInputs(model))];
  const layers = rows.filter((each) => each !== null);
  const tried = { bits: resolved.scheme.activationBits!, ratios };
  const errors = await measureActivations(model, layers, tried, batches, sessionOptions(config));
  return errors.map(({ input, hidden }, i) => {
    const [first, second] = [bestOf(input), bestOf(hidden)];
    return {
      layer: probes[i].layer.id,
      clips: { input: first.ratio, hidden: second.ratio },
      error: { input: first.error, hidden: second.error },
    };
  });
}

function bestOf(errors: Float64Array): { ratio: number; error: number } {
  const [whole] = errors;
  const least = Math.min(...errors);
  if (least >= whole * (1 - worthwhile)) return { ratio: 1, error: 1 };
  return { ratio: ratios[errors.indexOf(least)], error: least / whole };
}
