import type { Variant } from '../layer/variant.ts';
import { variantName } from '../layer/variant.ts';
import type { MadeLayer } from '../layer/write-layer.ts';
import type { Progress } from '../progress.ts';
import type { Workshop } from '../workshop.ts';
import type { WriteOrder, WrittenModel } from '../write-experts.ts';
import { writeExperts } from '../write-experts.ts';
import type { Distance, Gauge } from './gauge.ts';

/** Forms of one model that differ in the variants of their layers. */
export interface Drafts {
  write(variants: readonly Variant[]): Promise<WrittenModel>;
  /** How far such a form is from the reference on the records; written for that if it was not measured before. */
  distanceOf(variants: readonly Variant[]): Promise<Distance>;
}

/**
 * Drafts of one model. Where it may be written more than once, a layer is made once in each variant and kept: to write
 * layers that are there in another mixture takes no more than that.
 */
export function openDrafts(
  common: Omit<WriteOrder, 'variants' | 'layerOf'>,
  gauge: Pick<Gauge, 'distanceOf'>,
  isWrittenOnce: boolean,
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Drafts {
  const made = new Map<string, MadeLayer>();
  const distances = new Map<string, Promise<Distance>>();

  async function write(variants: readonly Variant[]): Promise<WrittenModel> {
    const layerOf: WriteOrder['layerOf'] = async (i, make) => {
      if (isWrittenOnce) return make();
      const key = `${i}: ${variantName(variants[i])}`;
      const layer = made.get(key) ?? (await make());
      made.set(key, layer);
      return layer;
    };
    return writeExperts({ ...common, variants, layerOf }, progress, workshop);
  }

  return {
    write,
    distanceOf(variants) {
      const key = variants.map(variantName).join();
      const distance = distances.get(key) ?? write(variants).then(({ model }) => gauge.distanceOf(model));
      distances.set(key, distance);
      return distance;
    },
  };
}
