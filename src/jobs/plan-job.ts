import { join } from 'node:path';
import type { BatchJob } from '../config/batch-jobs.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { Expert, MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { boundedConfig } from '../pipeline/bounded-config.ts';
import { needsRecords } from '../pipeline/calibrate-model.ts';
import type { SettledRotation } from '../pipeline/settle-rotation.ts';
import { recordsTried, rotationsTried } from '../pipeline/settle-rotation.ts';
import { version } from '../version.ts';
import { contentKey } from './content-key.ts';
import { estimateEmit, estimateQuantize, estimateRun, linearsOf, weightsOf } from './estimate.ts';
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
  const calibrate = needsRecords(config) ? [calibrateItem(job, before, ingredients)] : [];
  const rotations = rotationsTried(boundedConfig(prepared.model, config).config, config.data !== null);
  const experts = prepared.layers.flatMap((layer) =>
    layer.experts.filter(({ kind }) => kind === 'ffn').map((expert) => ({ layer: layer.id, expert })),
  );
  const quantize = rotations.flatMap((down) =>
    experts.map(({ layer, expert }) => quantizeItem({ layer, expert, down }, config, calibrate, ingredients)),
  );
  const rotation = rotations.length > 1 ? [rotationItem(job, before + after, quantize, ingredients)] : [];
  const emit = item({
    id: 'emit',
    needs: [...calibrate, ...quantize, ...rotation],
    inputs: [job.model],
    outputs: [`${name}.onnx`],
    parts: { target: config.target, output: config.output, records: ingredients.tuning },
    bytes: before - expertBytes(prepared),
    ...estimateEmit(after, Math.max(...layers)),
  });
  const verify = verifyItems(job, emit, before + after, ingredients);
  const items = [...calibrate, ...quantize, ...rotation, emit, ...verify];
  return {
    name,
    job,
    key: items.at(-1)!.key,
    folder: output,
    hasReport: verify.length > 0,
    layers: prepared.layers.length,
    experts: experts.length,
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

function calibrateItem(
  { model, config: { data, calibration } }: BatchJob,
  bytes: number,
  { tuning: _later, verification: _last, ...parts }: Ingredients,
): WorkItem {
  return item({
    id: 'calibrate',
    needs: [],
    inputs: [model, ...(data === null ? [] : [data])],
    outputs: [],
    parts,
    bytes,
    ...estimateRun(bytes, calibration.records ?? unknownRecords),
  });
}

/** Records of a file that nobody has counted: planning reads no records. */
const unknownRecords = 500;

function quantizeItem(
  { layer, expert, down }: { layer: string; expert: Expert; down: SettledRotation['down'] },
  config: QuantizeConfig,
  needs: WorkItem[],
  { tuning: _later, verification: _last, ...parts }: Ingredients,
): WorkItem {
  const linears = linearsOf(expert);
  return item({
    id: quantizeItemId(expert.id, down),
    expert: { layer, id: expert.id, down },
    needs,
    inputs: linears.map(({ name }) => name),
    outputs: [],
    parts,
    bytes: storedBytes(expert),
    ...estimateQuantize(expert, config),
  });
}

function rotationItem(
  { model, config: { data } }: BatchJob,
  bytes: number,
  needs: WorkItem[],
  { tuning, recipe }: Ingredients,
): WorkItem {
  const tried = estimateRun(bytes, recordsTried);
  return item({
    id: 'rotation',
    needs,
    inputs: [model, data!],
    outputs: [],
    parts: [tuning, recipe],
    bytes: 2 * bytes,
    memory: tried.memory,
    seconds: 2 * tried.seconds,
  });
}

function verifyItems(
  { model, name, config }: BatchJob,
  emit: WorkItem,
  bytes: number,
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
      bytes,
      ...estimateRun(bytes, verify.records ?? unknownRecords),
    }),
  ];
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
    const elements = source.shape.reduce((product, dim) => product * dim, 1);
    return (rows * cols * source.byteLength) / elements;
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
