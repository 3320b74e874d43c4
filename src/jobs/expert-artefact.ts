import type { QuantizedExpert, QuantizedLinear } from '../emit/quantized-expert.ts';
import { Fault } from '../fault.ts';
import type { ArtefactStore } from './artefact-store.ts';

const linearNames = ['gate', 'up', 'down'] as const;

/** Keeps an expert under a key: the codes of each linear apart, and then the rest, whose presence says it is whole. */
export function writeExpert(store: ArtefactStore, key: string, expert: QuantizedExpert): void {
  const rest = mapLinears(expert, (linear, name) => {
    const { codes, ...weight } = linear.weight;
    store.write(`${key}.${name}`, codes);
    return { ...linear, weight } as QuantizedLinear;
  });
  store.write(key, rest);
}

/**
 * An expert by its key. Its codes are read each time they are asked for, so that a layer of many experts can be
 * written with one of them in memory.
 * @throws Fault ARTEFACT_DAMAGED, when it is read or its codes are
 */
export function readExpertArtefact(store: ArtefactStore, key: string, id: string): QuantizedExpert {
  const read = (name: string): unknown => store.read(name) ?? damaged(store, key, id);
  return mapLinears(read(key) as QuantizedExpert, (linear, name) => ({
    ...linear,
    weight: Object.defineProperty({ ...linear.weight }, 'codes', {
      enumerable: true,
      get: () => read(`${key}.${name}`),
    }),
  }));
}

function mapLinears(
  expert: QuantizedExpert,
  change: (linear: QuantizedLinear, name: string) => QuantizedLinear,
): QuantizedExpert {
  const entries = linearNames.map((name) => [name, expert[name] && change(expert[name], name)]);
  return Object.fromEntries(entries) as QuantizedExpert;
}

/** The rest goes too: without it the expert counts as missing, and the next run makes it anew. */
function damaged(store: ArtefactStore, key: string, id: string): never {
  store.remove(key);
  throw new Fault({
    code: 'ARTEFACT_DAMAGED',
    what: `the stored result of expert ${id} is damaged`,
    why: 'its checksum does not hold, or the file is gone',
    remedy: 'run again with --resume: what is missing is made anew',
  });
}
