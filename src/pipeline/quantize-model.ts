import type { QuantizeConfig } from '../config/schema.ts';
import { emitLayer } from '../emit/emit-layer.ts';
import { emitterFor } from '../emit/emitter-for.ts';
import { executionOf } from '../emit/execution-of.ts';
import { foldSmoothing } from '../emit/fold-smoothing.ts';
import type { DenseResult } from '../emit/quantize-dense.ts';
import { quantizeDense } from '../emit/quantize-dense.ts';
import type { LayerProbes } from '../emit/parity-probes.ts';
import { collectProbes } from '../emit/parity-probes.ts';
import type { ResolvedTarget } from '../emit/resolve-target.ts';
import { resolveTarget } from '../emit/resolve-target.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import { layerRecord, writeModelRecord } from '../moe/model-record.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { version } from '../version.ts';
import { boundedConfig } from './bounded-config.ts';
import type { Calibration, CalibrationData } from './calibrate-model.ts';
import { calibrateModel, isSmall } from './calibrate-model.ts';
import type { Progress } from './progress.ts';
import { orderLayer } from './order-layer.ts';
import { refuseUnsupported } from './refuse-unsupported.ts';
import type { SettledConfig } from './settle-rotation.ts';
import type { RouterOutcome } from './settle-routers.ts';
import { settleRouters } from './settle-routers.ts';
import { rotationName, settleRotation } from './settle-rotation.ts';
import type { LayerSmoothing } from './smooth-layer.ts';
import type { Workshop } from './workshop.ts';
import { plainWorkshop } from './workshop.ts';

/** A quantized model in memory. */
export interface QuantizedModel {
  model: Model;
  /** Null for a data-free conversion. */
  calibration: Calibration | null;
  /** What each layer's inputs were divided by. */
  smoothing: LayerSmoothing[];
  /** What each written linear must compute; see `parityChecks`. */
  probes: LayerProbes[];
  /** What became of the routers. */
  routers: RouterOutcome;
  /** What became of the linears beside the routed experts; null when they were to be kept. */
  dense: DenseResult | null;
  /** What the config asks for and the model is too large for. */
  notes: string[];
}

/**
 * Quantizes the experts of a model: calibrate, settle what the config leaves open, smooth, round, write anew. The
 * result is ready to be saved.
 * @throws Fault SCHEME_TARGET or GROUP_TARGET for what cannot be written, and those of the steps
 */
export async function quantizeModel(
  path: string,
  data: CalibrationData | null,
  given: QuantizeConfig,
  progress: Progress = () => {},
  workshop: Workshop = plainWorkshop,
): Promise<QuantizedModel> {
  refuseUnsupported(given);
  const { config, notes } = boundedConfig(prepareModel(path).model, given);
  const resolved = resolveTarget(config.target, config.scheme, config.group);
  const calibration = await workshop.remember('calibrate', () =>
    calibrateModel(path, data, config, progress),
  );
  // What was written to be tried need not be written again.
  const tried = new Map<string, WrittenModel>();
  const write = async (rotation: SettledConfig['rotation']): Promise<WrittenModel> => {
    const order = { path, config: { ...config, rotation }, resolved, calibration };
    const name = rotationName(rotation);
    const model = tried.get(name) ?? (await writeExperts(order, progress, workshop));
    tried.set(name, model);
    return model;
  };
  const rotation = await workshop.remember('rotation', () =>
    settleRotation(path, data?.records ?? null, config, (candidate) => {
      progress({ stage: 'try', detail: `rotation before down: ${rotationName(candidate)}` });
      return write(candidate);
    }),
  );
  const written = await write(rotation);
  const records = (data?.records ?? []).slice(0, config.calibration.records ?? undefined);
  const routers = await settleRouters(path, written, records, config, { progress, workshop });
  const layers = written.probes.map(({ layer }) => layer);
  annotate({ model: written.model, layers }, { ...config, rotation }, resolved, written);
  return { ...written, routers, notes };
}

/** A model whose experts are written and whose routers are as they were. */
type WrittenModel = Omit<QuantizedModel, 'routers' | 'notes'>;

/** Everything that decides the result. */
interface WriteOrder {
  path: string;
  config: SettledConfig;
  resolved: ResolvedTarget;
  calibration: Calibration | null;
}

async function writeExperts(
  { path, config, resolved, calibration }: WriteOrder,
  progress: Progress,
  workshop: Workshop,
): Promise<WrittenModel> {
  const { model, layers } = prepareModel(path, resolved.opset);
  const original = new Set(model.graph.constants);
  const fewRows = writesFewRows(model, config) ? {} : { fewRowsFrom: Infinity };
  const smoothing: LayerSmoothing[] = [];
  const probes: LayerProbes[] = [];
  for (const [i, layer] of layers.entries()) {
    const detail = `${layer.id} (${layer.experts.length} experts)`;
    const tell = (done: number): void => progress({ stage: 'quantize', detail, done, total: layers.length });
    tell(i);
    const order = orderLayer(layer, calibration?.stats[i] ?? null, config);
    const { rotation } = order.recipe;
    smoothing.push(order.smoothing);
    const expertOf = await workshop.quantizeExperts(order);
    if (smoothing[i].input) foldSmoothing(model, layer, smoothing[i].input);
    const { weightsOf, probes: noted } = collectProbes({ layer, resolved, rotation }, expertOf);
    emitLayer(model, layer, emitterFor(resolved, { layer, weightsOf, rotation, ...fewRows }));
    probes.push(noted);
    workshop.settle([...model.graph.constants].filter((value) => !original.has(value)));
    tell(i + 1);
  }
  model.graph.removeDeadCode();
  const dense = quantizeRest(model, layers, config, resolved);
  annotate({ model, layers }, config, resolved, { calibration, dense });
  return { model, calibration, smoothing, probes, dense };
}

function writesFewRows(model: Model, { output: { fewTokens } }: QuantizeConfig): boolean {
  return fewTokens === 'auto' ? isSmall(model) : fewTokens;
}

/** Attention, shared experts and head, by the scheme of their own. */
function quantizeRest(
  model: Model,
  layers: readonly MoeLayer[],
  { dense: { scheme } }: QuantizeConfig,
  { target }: ResolvedTarget,
): DenseResult | null {
  if (scheme === 'keep') return null;
  const result = quantizeDense(model, layers, scheme, target === 'qdq');
  model.graph.removeDeadCode();
  return result;
}

/** Writes into the model what made it and where its layers are. Value names are final from here on. */
function annotate(
  { model, layers }: PreparedModel,
  config: QuantizeConfig,
  resolved: ResolvedTarget,
  { calibration, dense }: Pick<QuantizedModel, 'calibration' | 'dense'>,
): void {
  const hasFewRows = model.graph.nodes.some(
    ({ name }) => name.startsWith('moeq/') && name.endsWith('/are_few'),
  );
  writeModelRecord(model, {
    version,
    // The number of threads does not change the result, so it must not change the file.
    recipe: { ...config, threads: 'auto' },
    execution: executionOf(resolved, hasFewRows),
    layers: layers.map((layer, i) =>
      layerRecord(layer, calibration ? calibration.stats[i].experts.map(({ tokens }) => tokens) : null),
    ),
    ...(dense && { refused: dense.refused }),
  });
}
