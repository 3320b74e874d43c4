import { join } from 'node:path';
import type { BatchJob } from '../../config/batch-jobs.ts';
import type { DataRecord } from '../../data/record.ts';
import { firstRecords } from '../../data/record.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { weightBytesOf } from '../../onnx/model.ts';
import { isByLayer } from '../../pipeline/model-size.ts';
import type { ConversionRecords } from '../../pipeline/open-conversion.ts';
import { recordsHeldOut } from '../../pipeline/routers/hold-out.ts';
import { judgements } from '../../pipeline/routers/realign-router.ts';
import { isToRealign } from '../../pipeline/routers/settle-routers.ts';
import { recordsTried } from '../../pipeline/trials/gauge.ts';
import { trialsOfVariants } from '../../pipeline/trials/settle-variants.ts';
import type { Estimate, RunSize } from './estimate.ts';
import { estimateRun } from './estimate.ts';
import { runSize } from './model-sizes.ts';
import type { Ingredients } from './plan-item.ts';
import { item } from './plan-item.ts';
import type { WorkItem } from './plan.ts';

/** How much there is to run over. */
interface DataSize {
  records: number;
  tokens: number;
}

/** What runs of a job's models are planned from. */
export interface RunFacts {
  job: BatchJob;
  prepared: PreparedModel;
  ingredients: Ingredients;
  /** Bytes of the model, and of its quantized form. */
  bytes: { before: number; after: number };
  /** Of the records to calibrate on and those to verify on; null where there are none. */
  tuning: DataSize | null;
  verification: DataSize | null;
  size: RunSize;
}

export function runFacts(
  job: BatchJob,
  prepared: PreparedModel,
  ingredients: Ingredients,
  { records: { data, measuredOn }, after }: { records: ConversionRecords; after: number },
): RunFacts {
  return {
    job,
    prepared,
    ingredients,
    bytes: { before: weightBytesOf(prepared.model), after },
    tuning: data && sizeOf(firstRecords(data.records, job.config.calibration.records)),
    verification: measuredOn && sizeOf(measuredOn),
    size: runSize(prepared, false),
  };
}

/** Of records, whose longest input tells how many tokens they have. */
function sizeOf(records: readonly DataRecord[]): DataSize {
  const lengths = records.map(({ inputs }) =>
    Math.max(...Object.values(inputs).map(({ shape: [length = 1] }) => length)),
  );
  return { records: records.length, tokens: lengths.reduce((sum, length) => sum + length, 0) };
}

/** The first so many of the records. */
function firstOf({ records, tokens }: DataSize, limit: number): DataSize {
  const share = Math.min(1, limit / records);
  return { records: records * share, tokens: tokens * share };
}

/** Choice of the records: a run over all of them, where they are balanced. */
export function balanceItem(facts: RunFacts): WorkItem {
  const { tuning: _later, verification: _last, ...parts } = facts.ingredients;
  const { balance } = facts.job.config.calibration;
  const idle = { ...(!balance.enabled && { seconds: 0.1 }) };
  return item({ id: 'calibrate', needs: [], ...calibrationRun(facts), ...idle, parts });
}

/** What is seen of one layer, by a run over all. */
export function layerRunItem(id: string, facts: RunFacts, needs: WorkItem[]): WorkItem {
  const { seconds, ...run } = calibrationRun(facts);
  return item({ id, needs, ...run, seconds: seconds / facts.prepared.layers.length, parts: null });
}

type Run = Estimate & Pick<WorkItem, 'inputs' | 'outputs' | 'bytes'>;

/** What a run over the calibration records takes. */
function calibrationRun({ job: { model, config }, prepared, bytes, tuning }: RunFacts): Run {
  const { data } = config;
  return {
    inputs: [model, ...(data === null ? [] : [data])],
    outputs: [],
    bytes: bytes.before,
    ...estimateRun(
      runSize(prepared, isByLayer(prepared.model, config.calibration.byLayer)),
      tuning?.tokens ?? 0,
    ),
  };
}

/** The choice among variants: the model is tried in each, and perhaps in mixtures. */
export function variantsItem(facts: RunFacts, needs: WorkItem[], candidates: number): WorkItem {
  const { tuning, recipe } = facts.ingredients;
  const models = trialsOfVariants(candidates, facts.prepared.layers.length);
  return item({ id: 'variants', needs, ...trialRuns(facts, models), parts: [tuning, recipe] });
}

/** So many models are tried, and the reference is run once; one model alone is half a pair. */
function trialRuns(facts: RunFacts, models: number): Run {
  return pairRuns(facts, [{ runs: (models + 1) / 2, tokens: firstOf(facts.tuning!, recordsTried).tokens }]);
}

/**
 * What is done to the routers of the model that is written: realignment runs both models, one layer at a time, and
 * each layer of the written one again: on most of the records to measure the gap, on the others to judge corrections. In 8
 * bits they are clipped by a run of the written model, one layer at a time.
 */
export function routerItems(facts: RunFacts, needs: WorkItem[]): WorkItem[] {
  const { job, prepared, ingredients, tuning } = facts;
  const { config } = job;
  const parts = [ingredients.tuning, ingredients.recipe];
  if (!tuning) return [];
  const byLayer = { ...facts, size: runSize(prepared, true) };
  const items: WorkItem[] = [];
  if (isToRealign(config, prepared.layers, tuning.records)) {
    const heldOut = firstOf(tuning, recordsHeldOut(tuning.records)).tokens;
    // One model alone is half a pair.
    const runs = [
      { runs: 1, tokens: tuning.tokens },
      { runs: 1 / 2, tokens: tuning.tokens - heldOut },
      { runs: judgements / 2, tokens: heldOut },
    ];
    items.push(item({ id: 'realign', needs, ...pairRuns(byLayer, runs), parts }));
  }
  if (config.router.bits !== null) {
    const run = { ...pairRuns(facts, []), ...estimateRun(byLayer.size, tuning.tokens) };
    items.push(item({ id: 'router', needs: [...needs, ...items], ...run, parts }));
  }
  return items;
}

/** Both models side by side, and two of mixed parts where the loss is to be told apart; none where there are no records. */
export function verifyItems(facts: RunFacts, emit: WorkItem): WorkItem[] {
  const { job, prepared, ingredients, verification } = facts;
  const { verify, data } = job.config;
  if (!verification) return [];
  const size = runSize(prepared, isByLayer(prepared.model, verify.byLayer));
  const run = pairRuns({ ...facts, size }, [
    { runs: verify.attribution ? 2 : 1, tokens: verification.tokens },
  ]);
  return [
    item({
      id: 'verify',
      needs: [emit],
      ...run,
      inputs: [job.model, (verify.data ?? data)!],
      outputs: [join(`${job.name}.report`, 'report.json')],
      parts: ingredients.verification,
    }),
  ];
}

/** So many runs of two models over so many tokens. */
function pairRuns({ job, bytes, size }: RunFacts, runs: readonly { runs: number; tokens: number }[]): Run {
  const estimates = runs.map(({ runs: times, tokens }) => {
    const { memory, seconds } = estimateRun({ ...size, inMemory: 2 * size.inMemory }, tokens, 2);
    return { memory, seconds: times * seconds };
  });
  return {
    inputs: [job.model, ...(job.config.data === null ? [] : [job.config.data])],
    outputs: [],
    bytes: runs.reduce((sum, { runs: times }) => sum + times, 0) * (bytes.before + bytes.after),
    memory: Math.max(0, ...estimates.map(({ memory }) => memory)),
    seconds: estimates.reduce((sum, { seconds }) => sum + seconds, 0),
  };
}
