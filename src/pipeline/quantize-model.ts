import { calibrate } from '../calibrate/calibrate.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import type { DataRecord } from '../data/record.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { foldSmoothing } from '../emit/fold-smoothing.ts';
import { groupedFfn } from '../emit/grouped-ffn.ts';
import { intForm } from '../emit/int-form.ts';
import type { QuantizedExpert } from '../emit/quantized-expert.ts';
import { Fault } from '../fault.ts';
import { layerRecord, writeModelRecord } from '../moe/model-record.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import { readExpert } from '../moe/read-expert.ts';
import { declaredInputs } from '../data/declared-inputs.ts';
import type { Model } from '../onnx/model.ts';
import type { Scheme } from '../quantize/scheme.ts';
import { schemeOf } from '../quantize/scheme.ts';
import type { Progress } from './progress.ts';
import { quantizeExpert } from './quantize-expert.ts';
import { roundingOf } from './rounding.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import { noSmoothing, smoothLayer } from './smooth-layer.ts';
import { version } from '../version.ts';

/** A quantized model in memory, with what calibration saw. */
export interface QuantizedModel {
  model: Model;
  stats: LayerStats[] | null;
}

/**
 * Quantizes the experts of a model: calibrate, smooth, round, write anew. The result is ready to be saved.
 * @throws Fault DATA_REQUIRED when the recipe needs records and there are none, SCHEME_TARGET for a combination that
 * cannot be written, and those of the steps
 */
export async function quantizeModel(
  path: string,
  records: readonly DataRecord[] | null,
  config: QuantizeConfig,
  progress: Progress = () => {},
): Promise<QuantizedModel> {
  const scheme = schemeOf(config.scheme);
  const activationBits = requireInt(scheme, config);
  const stats = needsData(config)
    ? await calibrateModel(path, requireRecords(records), config, progress)
    : null;
  const { model, layers } = prepareModel(path);
  const context = { config, scheme, activationBits, progress };
  for (const [i, layer] of layers.entries()) await quantizeLayer(model, layer, stats?.[i] ?? null, context);
  model.graph.removeDeadCode();
  annotate({ model, layers }, config, stats);
  return { model, stats };
}

interface Context {
  config: QuantizeConfig;
  scheme: Scheme;
  activationBits: number;
  progress: Progress;
}

async function calibrateModel(
  path: string,
  records: readonly DataRecord[],
  config: QuantizeConfig,
  progress: Progress,
): Promise<LayerStats[]> {
  progress({ stage: 'calibrate', detail: `${records.length} records` });
  const { model, layers } = prepareModel(path);
  const batches = makeBatches(records, declaredInputs(model));
  return calibrate(model, layers, batches, { gram: config.rounding.method === 'gptq', ...threadsOf(config) });
}

async function quantizeLayer(
  model: Model,
  layer: MoeLayer,
  stats: LayerStats | null,
  { config, scheme, activationBits, progress }: Context,
): Promise<void> {
  progress({ stage: 'quantize', detail: layer.id });
  const smoothing = stats ? smoothLayer(layer, stats, config.smoothing) : noSmoothing;
  const quantized = await quantizeExperts(layer, stats, smoothing, { config, scheme });
  if (smoothing.input) foldSmoothing(model, layer, smoothing.input);
  emitLayer(model, layer, groupedFfn(layer, ({ id }) => quantized.get(id)!, intForm(activationBits)));
}

async function quantizeExperts(
  layer: MoeLayer,
  stats: LayerStats | null,
  smoothing: LayerSmoothing,
  { config, scheme }: Pick<Context, 'config' | 'scheme'>,
): Promise<Map<string, QuantizedExpert>> {
  const round = roundingOf(scheme, config, groupOf(config));
  const result = new Map<string, QuantizedExpert>();
  for (const expert of layer.experts.filter(({ kind }) => kind === 'ffn')) {
    const seen = stats?.experts.find(({ id, tokens }) => id === expert.id && tokens > 0) ?? null;
    const hidden = smoothing.hidden.get(expert.id) ?? null;
    result.set(
      expert.id,
      await quantizeExpert(readExpert(expert), seen, { input: smoothing.input, hidden }, round),
    );
  }
  return result;
}

/** Writes into the model what made it and where its layers are. Value names are final from here on. */
function annotate(
  { model, layers }: PreparedModel,
  config: QuantizeConfig,
  stats: LayerStats[] | null,
): void {
  const scheme = schemeOf(config.scheme);
  writeModelRecord(model, {
    version,
    recipe: config as unknown as Record<string, unknown>,
    execution: {
      target: 'int',
      weights: scheme.weight.bits === 8 ? 'int8' : 'int4',
      activations: `uint8 codes of ${scheme.activationBits} bits`,
      executed: true,
      provider: 'cpu',
    },
    layers: layers.map((layer, i) =>
      layerRecord(layer, stats ? stats[i].experts.map(({ tokens }) => tokens) : null),
    ),
  });
}

function needsData({ smoothing, rounding }: QuantizeConfig): boolean {
  return smoothing.enabled || rounding.method === 'gptq';
}

function requireRecords(records: readonly DataRecord[] | null): readonly DataRecord[] {
  if (records) return records;
  throw new Fault({
    code: 'DATA_REQUIRED',
    what: 'this recipe needs calibration records',
    why: 'smoothing and GPTQ are computed from the activations of a calibration run',
    remedy:
      'give --data, or --set smoothing.enabled=false --set rounding.method=rtn for a data-free conversion',
  });
}

function requireInt(scheme: Scheme, { target }: QuantizeConfig): number {
  if ((target === 'int' || target === 'auto') && scheme.activationBits !== null) return scheme.activationBits;
  throw new Fault({
    code: 'SCHEME_TARGET',
    what: `scheme ${scheme.name} cannot be written as target ${target}`,
    remedy: 'target int (or auto) takes w4a4, w3a4, w3a3, w2a4, w4a8, w8a8, ternary-a8 and ternary-a4',
  });
}

function groupOf({ group }: QuantizeConfig): 'channel' {
  if (group === 'auto' || group === 'channel') return 'channel';
  throw new Fault({
    code: 'GROUP_TARGET',
    what: `target int cannot be written with group ${group}`,
    why: 'MatMulInteger sums over the whole input before a scale applies',
    remedy: 'use group channel',
  });
}

function threadsOf({ threads }: QuantizeConfig): { threads?: number } {
  return threads === 'auto' ? {} : { threads };
}
