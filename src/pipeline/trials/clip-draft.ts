import { measureActivations } from '../../calibrate/measure-activations.ts';
import { makeBatches } from '../../data/batches.ts';
import { declaredInputs } from '../../data/model-input.ts';
import type { DataRecord } from '../../data/record.ts';
import type { ActivationClips } from '../../emit/forms/activation-clips.ts';
import { isClipped } from '../../emit/forms/activation-clips.ts';
import type { Progress } from '../progress.ts';
import { sessionOptions } from '../run-options.ts';
import type { Workshop } from '../workshop.ts';
import type { WrittenModel } from '../write-experts.ts';
import { writeExperts } from '../write-experts.ts';
import type { ClippedLayer } from './clips.ts';
import { bestClips, describeClips, triedGrids, unclipped } from './clips.ts';
import type { Draft } from './drafts.ts';
import type { Gauge } from './gauge.ts';
import { joint } from './gauge.ts';

/** So many records tell shares of a range apart. */
export const recordsClipped = 128;

/**
 * Settles `activations.clip: auto` for a draft: for each layer, in front of gate and up and in front of down, the share of
 * a token's range that leaves the least squared error on what the draft really quantizes. The draft is written anew with
 * them, and the one of the two that is nearer to the reference is taken: what clipping leaves of the error is less, but
 * all on one side.
 */
export async function clipDraft(
  draft: Draft,
  records: readonly DataRecord[],
  gauge: Pick<Gauge, 'distanceOf'>,
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Promise<WrittenModel> {
  const { order, written } = draft;
  progress({ stage: 'clip', detail: 'activations, by what rounding them costs' });
  const layers = await workshop.remember('clip', () => clipsOfDraft(draft, records));
  for (const layer of layers) progress({ stage: 'clip', detail: describeClips(layer) });
  if (!layers.some(({ clips }) => isClipped(clips))) return withClips(written, layers);
  const clipsOf = (index: number): ActivationClips => layers[index].clips;
  const clipped = await writeExperts({ ...order, clipsOf }, progress, workshop);
  const isBetter = await workshop.remember(
    'clip:tried',
    async () => joint(await gauge.distanceOf(clipped.model)) < joint(await draft.distance()),
  );
  if (isBetter) return withClips(clipped, layers);
  progress({ stage: 'clip', detail: 'left whole after all: so the output is nearer to the reference' });
  return withClips(written, layers.map(unclipped));
}

function withClips(written: WrittenModel, clipped: readonly ClippedLayer[]): WrittenModel {
  return { ...written, layers: written.layers.map((layer, i) => ({ ...layer, clipped: clipped[i] })) };
}

async function clipsOfDraft(
  { order: { config, resolved }, written: { model, layers } }: Draft,
  records: readonly DataRecord[],
): Promise<ClippedLayer[]> {
  const batches = [...makeBatches(records.slice(0, recordsClipped), declaredInputs(model))];
  const session = sessionOptions(config);
  const measured = layers.map(({ layer, rows }) => ({ rows: rows!, output: layer.boundary!.output }));
  const errors = await measureActivations(model, measured, triedGrids(resolved), batches, session);
  return errors.map((each, i) => bestClips(layers[i].layer.id, each));
}
