import type { BatchJob } from '../../config/batch-jobs.ts';
import { tokenizerFile } from '../../data/tokenizer.ts';
import { fileHash } from '../../files/file-hash.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { needsRecords } from '../../pipeline/needs-records.ts';
import { version } from '../../version.ts';
import { contentKey, dataIdentity, modelIdentity } from './identity.ts';
import type { WorkItem } from './plan.ts';

/** What results are made of, besides the weights an item names. */
export interface Ingredients {
  version: string;
  model: string;
  recipe: unknown;
  calibration: string | null;
  /** Of the records that choices are settled on while the model is written. */
  tuning: string | null;
  verification: string | null;
}

/** @throws Fault DATA_NOT_FOUND, DATA_TOKENIZER */
export async function ingredientsOf({ config }: BatchJob, { model }: PreparedModel): Promise<Ingredients> {
  // Threads, gates, the seed, which nothing draws on, and the way files are written do not change weights; records and
  // tokenizers count by their bytes.
  const { threads: _threads, seed: _seed, gates: _gates, verify, output: _output, ...read } = config;
  const { data, tokenizer, calibration, ...recipe } = read;
  const { pool, ...balance } = calibration.balance;
  const vocabulary = tokenizerFile(tokenizer, model.path);
  const words = vocabulary && (await fileHash(vocabulary));
  const [records, topUp, measured] = await Promise.all(
    [data, pool, verify.data].map((path) => (path === null ? Promise.resolve(null) : dataIdentity(path))),
  );
  return {
    version,
    model: await modelIdentity(model),
    recipe,
    calibration: needsRecords(config)
      ? contentKey([records, topUp, { ...calibration, balance }, words])
      : null,
    tuning: records && contentKey([records, calibration.records, words]),
    verification: contentKey([measured ?? records, words, verify.records, verify.attribution]),
  };
}

interface ItemFacts extends Omit<WorkItem, 'key' | 'needs' | 'kind' | 'expert'> {
  expert?: WorkItem['expert'];
  needs: WorkItem[];
  /** What the result depends on besides the items it needs. */
  parts: unknown;
}

/** An item with its key. */
export function item({ id, expert = null, needs, parts, ...facts }: ItemFacts): WorkItem {
  const kind = id.split(':')[0] as WorkItem['kind'];
  const key = contentKey([id, parts, needs.map((need) => need.key)]);
  return { id, kind, expert, needs: needs.map((need) => need.id), ...facts, key };
}
