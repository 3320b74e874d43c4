import { join } from 'node:path';
import type { BatchJob } from '../config/batch-jobs.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { boundedConfig } from '../pipeline/bounded-config.ts';
import { calibrationStep } from '../pipeline/calibrator.ts';
import { isByLayer } from '../pipeline/model-size.ts';
import { needsRecords } from '../pipeline/needs-records.ts';
import type { SettledRotation } from '../pipeline/settle-rotation.ts';
import { recordsTried, rotationsTried } from '../pipeline/settle-rotation.ts';
import { countOf } from '../tensor/dtype.ts';
import { version } from '../version.ts';
import { contentKey } from './content-key.ts';
import type { Estimate, RunSize } from './estimate.ts';
import { estimateEmit, estimateQuantize, estimateRun, linearsOf, weightsOf } from './estimate.ts';
import { estimateTokens } from './estimate-tokens.ts';
import { dataIdentity, modelIdentity } from './file-identity.ts';
import type { JobPlan, WorkItem } from './plan.ts';
import { quantizeItemId } from './plan.ts';

/**
 * The work of one conversion, from the model's graph and headers; no weight is read, and nothing is written.
 * @throws Fault those of `prepareModel` and `resolveTarget`
 */
export async function planJob(job: BatchJob, output: string): Promise<JobPlan> {
  const { name, config } = job;
  const target = resolveTarget(config.target, config.scheme, config.group);
  const prepared = prepareModel(job.model, target.opset);
  const before = bytesOf(prepared);
  const layers = prepared.layers.map((layer) => resultBytes(layer, target));
  const after = before - expertBytes(prepared) + sum(layers);
  const ingredients = await ingredientsOf(job, prepared);
  const rotations = rotationsTried(boundedConfig(prepared.model, config).config, config.data !== null);
  const { calibrate, quantize } = expertItems(job, prepared, rotations, ingredients);
  const pair = { bytes: before + after, prepared };
  const rotation =
    rotations.length > 1 ? [rotationItem(job, pair, quantize, rotations.length, ingredients)] : [];
  const emit = item({
    id: 'emit',
    needs: [...calibrate, ...quantize, ...rotation],
    inputs: [job.model],
    outputs: [`${name}.onnx`],
    parts: { target: config.target, output: config.output, records: ingredients.tuning },
    bytes: before - expertBytes(prepared),
    ...estimateEmit(after, Math.max(...layers)),
  });
  const verify = verifyItems(job, emit, pair, ingredients);
  const items = [...calibrate, ...quantize, ...rotation, emit, ...verify];
  return {
    name,
    job,
    key: items.at(-1)!.key,
    folder: output,
    hasReport: verify.length > 0,
    layers: prepared.layers.length,
    experts: quantize.length / rotations.length,
    size: { before, after },
    memory: Math.max(...items.map(({ memory }) => memory)),
    seconds: sum(items.map(({ seconds }) => seconds)),
    items,
  };
}

/** What results are made of, besides the weights an item names. */
interface Ingredients {
  version: string;
  model: string;
  recipe: unknown;
  calibration: string | null;
  /** Of the records that choices are settled on while the model is written. */
  tuning: string | null;
  verification: string | null;
}

async function ingredientsOf({ config }: BatchJob, { model }: PreparedModel): Promise<Ingredients> {
  // Threads, gates and the way files are written do not change weights; records count by their bytes.
  const { threads: _threads, gates: _gates, verify, output: _output, data, calibration, ...recipe } = config;
  const { pool } = calibration.balance;
  const [records, topUp, measured] = await Promise.all(
    [data, pool, verify.data].map((path) => (path === null ? Promise.resolve(null) : dataIdentity(path))),
  );
  return {
    version,
    model: await modelIdentity(model),
    recipe,
    calibration: needsRecords(config) ? contentKey([records, topUp, calibration]) : null,
    tuning: records,
    verification: contentKey([measured ?? records, verify.records]),
  };
}

interface ItemFacts extends Omit<WorkItem, 'key' | 'needs' | 'kind' | 'expert'> {
  expert?: WorkItem['expert'];
  needs: WorkItem[];
  /** What the result depends on besides the items it needs. */
  parts: unknown;
}

function item({ id, expert = null, needs, parts, ...facts }: ItemFacts): WorkItem {
  const kind = id.split(':')[0] as WorkItem['kind'];
  const key = contentKey([id, parts, needs.map((need) => need.key)]);
  return { id, kind, expert, needs: needs.map((need) => need.id), ...facts, key };
}

/** Calibration and rounding of every layer, with each rotation. */
function expertItems(
  job: BatchJob,
  prepared: PreparedModel,
  rotations: readonly SettledRotation[],
  ingredients: Ingredients,
): { calibrate: WorkItem[]; quantize: WorkItem[] } {
  const { config } = job;
  const { sequential } = config.calibration;
  const chosen = needsRecords(config) ? [balanceItem(job, prepared, ingredients)] : [];
  const calibrate = new Map(chosen.map((first) => [first.id, first]));
  const quantize: WorkItem[] = [];
  for (const rotation of rotations) {
    let before: WorkItem[] = [];
    for (const layer of prepared.layers) {
      const id = calibrationStep(layer.id, { ...config, rotation });
      const needs = sequential ? [...chosen, ...before] : chosen;
      const stats = chosen.map(() => calibrate.get(id) ?? statsItem(id, job, prepared, needs));
      for (const item of stats) calibrate.set(id, item);
      before = layer.experts
        .filter(({ kind }) => kind === 'ffn')
        .map((expert) => quantizeItem({ layer: layer.id, expert, rotation }, config, stats, ingredients));
      quantize.push(...before);
    }
  }
  return { calibrate: [...calibrate.values()], quantize };
}

/** Choice of the records: a run over all of them, where they are balanced. */
function balanceItem(
  job: BatchJob,
  prepared: PreparedModel,
  { tuning: _later, verification: _last, ...parts }: Ingredients,
): WorkItem {
  const { balance } = job.config.calibration;
  return item({
    id: 'calibrate',
    needs: [],
    ...calibrationRun(job, prepared),
    ...(!balance.enabled && { seconds: 0.1 }),
    parts,
  });
}

function statsItem(id: string, job: BatchJob, prepared: PreparedModel, needs: WorkItem[]): WorkItem {
  const { seconds, ...run } = calibrationRun(job, prepared);
  return item({ id, needs, ...run, seconds: seconds / prepared.layers.length, parts: null });
}

/** What a run over the calibration records takes. */
function calibrationRun(
  { model, config }: BatchJob,
  prepared: PreparedModel,
): Estimate & Pick<WorkItem, 'inputs' | 'outputs' | 'bytes'> {
  const { data, calibration } = config;
  const tokens = data === null ? 0 : estimateTokens(data, prepared.model, calibration.records);
  return {
    inputs: [model, ...(data === null ? [] : [data])],
    outputs: [],
    bytes: bytesOf(prepared),
    ...estimateRun(runSize(prepared, isByLayer(prepared.model, config)), tokens),
  };
}

function quantizeItem(
  { layer, expert, rotation }: { layer: string; expert: Expert; rotation: SettledRotation },
  config: QuantizeConfig,
  needs: WorkItem[],
  { tuning: _later, verification: _last, ...parts }: Ingredients,
): WorkItem {
  const linears = linearsOf(expert);
  return item({
    id: quantizeItemId(expert.id, rotation),
    expert: { layer, id: expert.id, rotation },
    needs,
    inputs: linears.map(({ name }) => name),
    outputs: [],
    parts,
    bytes: storedBytes(expert),
    ...estimateQuantize(expert, config),
  });
}

/** Two models that are compared. */
interface Pair {
  bytes: number;
  /** The first; the second has as many weights. */
  prepared: PreparedModel;
}

function rotationItem(
  { model, config: { data } }: BatchJob,
  pair: Pair,
  needs: WorkItem[],
  tries: number,
  { tuning, recipe }: Ingredients,
): WorkItem {
  const tried = estimatePair(pair, data!, recordsTried);
  return item({
    id: 'rotation',
    needs,
    inputs: [model, data!],
    outputs: [],
    parts: [tuning, recipe],
    bytes: tries * pair.bytes,
    memory: tried.memory,
    seconds: tries * tried.seconds,
  });
}

function verifyItems(
  { model, name, config }: BatchJob,
  emit: WorkItem,
  pair: Pair,
  { verification }: Ingredients,
): WorkItem[] {
  const { verify, data } = config;
  const records = verify.data ?? data;
  if (records === null) return [];
  return [
    item({
      id: 'verify',
      needs: [emit],
      inputs: [model, records],
      outputs: [join(`${name}.report`, 'report.json')],
      parts: [verification, config.tokenizer],
      bytes: pair.bytes,
      ...estimatePair(pair, records, verify.records),
    }),
  ];
}

function estimatePair({ prepared }: Pair, data: string, records: number | null): Estimate {
  const size = runSize(prepared, false);
  const tokens = estimateTokens(data, prepared.model, records);
  return estimateRun({ ...size, perToken: 2 * size.perToken }, tokens);
}

/** Every weight but those of experts meets every token; of experts, the share that the router chooses. */
function runSize({ model, layers }: PreparedModel, byLayer: boolean): RunSize {
  const tensors = [...model.graph.constants].map(({ tensor }) => tensor!.source);
  const all = sum(tensors.map(({ shape }) => countOf(shape)));
  const experts = layers.map((layer) => sum(layer.experts.map(weightsOf)));
  const idle = layers.map(({ router: { topK, experts: count } }, i) =>
    topK === null ? 0 : experts[i] * (1 - topK / count),
  );
  return { inMemory: byLayer ? Math.max(...experts) : all, perToken: all - sum(idle) };
}

/** Codes, and one float32 scale per group. */
function resultBytes(layer: MoeLayer, { scheme, groupSizeOf }: ResolvedTarget): number {
  const { bits } = scheme.weight;
  const storedBits = bits === 3 ? 4 : bits;
  const linears = layer.experts.flatMap(linearsOf);
  return sum(
    linears.map(({ weight: { rows, cols } }) => {
      const groups = Math.ceil(cols / groupSizeOf(cols));
      return Math.ceil((rows * cols * storedBits) / 8) + rows * groups * 4;
    }),
  );
}

function storedBytes(expert: Expert): number {
  const widths = linearsOf(expert).map(({ weight: { rows, cols, source } }) => {
    return (rows * cols * source.byteLength) / countOf(source.shape);
  });
  return weightsOf(expert) === 0 ? 0 : sum(widths);
}

function expertBytes({ layers }: PreparedModel): number {
  return sum(layers.flatMap(({ experts }) => experts).map(storedBytes));
}

function bytesOf({ model }: PreparedModel): number {
  return sum([...model.graph.constants].map(({ tensor }) => tensor!.source.byteLength));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
