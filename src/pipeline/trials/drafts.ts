import type { MadeLayer } from '../layer/write-layer.ts';
import type { Progress } from '../progress.ts';
import type { Workshop } from '../workshop.ts';
import type { WriteOrder, WrittenModel } from '../write-experts.ts';
import { writeExperts } from '../write-experts.ts';
import type { Distance, Gauge } from './gauge.ts';
import type { Variant } from './variants.ts';
import { variantName } from './variants.ts';

/** A model that is written, and what it was written by. */
export interface Draft {
  order: WriteOrder;
  written: WrittenModel;
  /** How far it is from the reference on the records; measured once for all drafts in the same variants. */
  distance(): Promise<Distance>;
}

/** Forms of one model that differ in the variants of their layers. */
export interface Drafts {
  write(variants: readonly Variant[]): Promise<Draft>;
  /** The distance of such a form, which is written for that if it was not measured before. */
  distanceOf(variants: readonly Variant[]): Promise<Distance>;
}

/**
 * Drafts of one model. Where it may be written more than once, a layer is made once in each variant and kept: to write
 * layers that are there in another mixture takes no more than that.
 */
export function openDrafts(
  common: Omit<WriteOrder, 'variants' | 'made'>,
  gauge: Pick<Gauge, 'distanceOf'>,
  isWrittenOnce: boolean,
  { progress, workshop }: { progress: Progress; workshop: Workshop },
): Drafts {
  const madeWith = new Map<string, (MadeLayer | null)[]>();
  const distances = new Map<string, Promise<Distance>>();

  function measureOnce(names: readonly string[], compute: () => Promise<Distance>): Promise<Distance> {
    const key = names.join();
    const distance = distances.get(key) ?? compute();
    distances.set(key, distance);
    return distance;
  }

  async function write(variants: readonly Variant[]): Promise<Draft> {
    const names = variants.map(variantName);
    const made = isWrittenOnce ? null : names.map((name, i) => madeWith.get(name)?.[i] ?? null);
    const order = { ...common, variants, made };
    const written = await writeExperts(order, progress, workshop);
    made?.forEach((layer, i) => {
      const layers = madeWith.get(names[i]) ?? names.map(() => null);
      madeWith.set(names[i], layers.with(i, layer));
    });
    const distance = (): Promise<Distance> => measureOnce(names, () => gauge.distanceOf(written.model));
    return { order, written, distance };
  }

  return {
    write,
    distanceOf: (variants) =>
      measureOnce(variants.map(variantName), async () => {
        const { written } = await write(variants);
        return gauge.distanceOf(written.model);
      }),
  };
}
