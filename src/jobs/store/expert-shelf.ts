import { rmSync } from 'node:fs';
import type { MadeExpert } from '../../emit/parity-references.ts';
import { expertWeights } from '../../moe/ffn-experts.ts';
import type { MoeLayer } from '../../moe/moe-layer.ts';
import type { ExpertOf } from '../../pipeline/workshop.ts';
import type { ArtefactStore } from './artefact-store.ts';
import { damaged, openStore } from './artefact-store.ts';

/** Where the experts of a layer wait to be written. */
export interface ExpertShelf {
  put(id: string, expert: MadeExpert): void;
  expertOf: ExpertOf;
}

/**
 * A shelf for one layer after the other: in memory, or in a folder where codes take more than `most` bytes, of which the
 * layer before is then removed. A layer that large is written once.
 */
export function expertShelves(folder: string, most: number): (layer: MoeLayer) => ExpertShelf {
  return (layer) => {
    if (expertWeights(layer) <= most) return inMemory();
    rmSync(folder, { recursive: true, force: true });
    const store = openStore(folder);
    return {
      put: (id, expert) => store.write(id, expert),
      expertOf: ({ id }) => readExpert(store, id, id),
    };
  };
}

/** @throws Fault ARTEFACT_DAMAGED, which tells `id` */
export function readExpert(store: ArtefactStore, key: string, id: string): MadeExpert {
  const expert = store.read(key);
  if (expert === undefined) throw damaged(id);
  return expert as MadeExpert;
}

function inMemory(): ExpertShelf {
  const made = new Map<string, MadeExpert>();
  return { put: (id, expert) => void made.set(id, expert), expertOf: ({ id }) => made.get(id)! };
}
