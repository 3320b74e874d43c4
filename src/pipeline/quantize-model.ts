import type { LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { rotatedForm } from '../emit/rotated-form.ts';
import { foldSmoothing } from '../emit/fold-smoothing.ts';
import { groupedFfn } from '../emit/grouped-ffn.ts';
import { intForm } from '../emit/int-form.ts';
import { Fault } from '../fault.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { layerRecord, writeModelRecord } from '../moe/model-record.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import type { Scheme } from '../quantize/scheme.ts';
import { schemeOf } from '../quantize/scheme.ts';
import { version } from '../version.ts';
import type { Calibration, CalibrationData } from './calibrate-model.ts';
import { calibrateModel } from './calibrate-model.ts';
import type { Progress } from './progress.ts';
import { rotationOf } from './rotation.ts';
import type { ExpertOrder } from './quantize-expert.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import { noSmoothing, smoothLayer } from './smooth-layer.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';

/** A quantized model in memory. */
export interface QuantizedModel {
  model: Model;
  /** Null for a data-free conversion. */
  calibration: Calibration | null;
  /** What each layer's inputs were divided by. */
  smoothing: LayerSmoothing[];
}

/**
 * Quantizes the experts of a model: calibrate, smooth, round, write anew. The result is ready to be saved.
 * @throws Fault SCHEME_TARGET for a combination that cannot be written, and those of the steps
 */
export async function quantizeModel(
  path: string,
  data: CalibrationData | null,
  config: QuantizeConfig,
  progress: Progress = () => {},
  workshop: Workshop = plainWorkshop,
): Promise<QuantizedModel> {
  const scheme = schemeOf(config.scheme);
  const activationBits = requireInt(scheme, config);
  const calibration = await workshop.remember('calibrate', () =>
    calibrateModel(path, data, config, progress),
  );
  const { model, layers } = prepareModel(path, scheme.weight.bits === 2 ? 25 : 21);
  const original = new Set(model.graph.constants);
  const smoothing: LayerSmoothing[] = [];
  for (const [i, layer] of layers.entries()) {
    progress({ stage: 'quantize', detail: `${layer.id} (${layer.experts.length} experts)` });
    const stats = calibration?.stats[i] ?? null;
    smoothing.push(stats ? smoothLayer(layer, stats, config.smoothing) : noSmoothing);
    const experts = expertOrders(layer, stats, smoothing[i]);
    const rotation = rotationOf(layer, config.rotation);
    const weightsOf = await workshop.quantizeExperts({
      model: path,
      layer,
      experts,
      recipe: { config, group: groupOf(config), rotation },
    });
    if (smoothing[i].input) foldSmoothing(model, layer, smoothing[i].input);
    emitLayer(model, layer, groupedFfn(layer, weightsOf, rotatedForm(intForm(activationBits), rotation)));
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
  }
  model.graph.removeDeadCode();
  annotate({ model, layers }, config, calibration);
  return { model, calibration, smoothing };
}

function expertOrders(layer: MoeLayer, stats: LayerStats | null, smoothing: LayerSmoothing): ExpertOrder[] {
  return layer.experts
    .filter(({ kind }) => kind === 'ffn')
    .map(({ id }) => ({
      id,
      stats: stats?.experts.find((expert) => expert.id === id && expert.tokens > 0) ?? null,
      smoothing: { input: smoothing.input, hidden: smoothing.hidden.get(id) ?? null },
    }));
}

/** Writes into the model what made it and where its layers are. Value names are final from here on. */
function annotate(
  { model, layers }: PreparedModel,
  config: QuantizeConfig,
  calibration: Calibration | null,
): void {
  const scheme = schemeOf(config.scheme);
  writeModelRecord(model, {
    version,
    // The number of threads does not change the result, so it must not change the file.
    recipe: { ...config, threads: 'auto' },
    execution: {
      target: 'int',
      weights: scheme.weight.bits === 8 ? 'int8' : 'int4',
      activations: `uint8 codes of ${scheme.activationBits} bits`,
      executed: true,
      provider: 'cpu',
    },
    layers: layers.map((layer, i) =>
      layerRecord(layer, calibration ? calibration.stats[i].experts.map(({ tokens }) => tokens) : null),
    ),
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
