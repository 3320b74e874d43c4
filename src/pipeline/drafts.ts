import type { QuantizeConfig } from '../config/schema.ts';
import type { DataRecord } from '../data/record.ts';
import { distanceFrom } from './distance.ts';
import type { Progress } from './progress.ts';
import type { SettledRotation } from './settle-rotation.ts';
import { rotationName } from './settle-rotation.ts';
import type { Workshop } from './workshop.ts';
import type { WriteOrder, WrittenModel } from './write-experts.ts';
import { writeExperts } from './write-experts.ts';

/** A model that is written, and what it was written by. */
export interface Draft {
  order: WriteOrder;
  written: WrittenModel;
  /** How far it is from the reference on the records; measured once, when it is asked for. */
  distance(): Promise<number>;
}

/** Models that are written to be tried, so that the one that is chosen need not be written again. */
export interface Drafts {
  write(rotation: SettledRotation): Promise<Draft>;
  forget(rotation: SettledRotation): void;
}

/** Drafts of one model that differ in their rotation; `keepsWeights` where the one that is chosen will be written anew. */
export function openDrafts(
  { config, ...common }: Omit<WriteOrder, 'config' | 'made'> & { config: QuantizeConfig },
  records: readonly DataRecord[],
  keepsWeights: boolean,
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Drafts {
  const drafts = new Map<string, Draft>();
  return {
    async write(rotation) {
      const name = rotationName(rotation);
      const known = drafts.get(name);
      if (known) return known;
      const order = { ...common, config: { ...config, rotation }, made: keepsWeights ? [] : null };
      const written = await writeExperts(order, progress, workshop);
      let measured: Promise<number> | null = null;
      const distance = (): Promise<number> => (measured ??= distanceFrom(written.model, records, order));
      const draft = { order, written, distance };
      drafts.set(name, draft);
      return draft;
    },
    forget: (rotation) => void drafts.delete(rotationName(rotation)),
  };
}
