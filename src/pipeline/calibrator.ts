import type { Balance } from '../calibrate/balance-records.ts';
import type { StatsSource } from '../calibrate/calibrate-by-layer.ts';
import { calibrateByLayer, expertGramBytes } from '../calibrate/calibrate-by-layer.ts';
import { calibrate } from '../calibrate/calibrate.ts';
import type { LayerStats } from '../calibrate/layer-stats.ts';
import type { QuantizeConfig } from '../config/schema.ts';
import { makeBatches } from '../data/batches.ts';
import { declaredInputs } from '../data/model-input.ts';
import type { DataRecord } from '../data/record.ts';
import { ffnExperts } from '../moe/ffn-experts.ts';
import type { MoeLayer } from '../moe/moe-layer.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { CalibrationData } from './balance-data.ts';
import { balanceData, chosenRecords } from './balance-data.ts';
import type { Variant } from './layer/variant.ts';
import { layerStep } from './layer/variant.ts';
import { isByLayer, calibratesByLayer } from './model-size.ts';
import { needsGram, needsRecords, requireRecords } from './needs-records.ts';
import type { Progress } from './progress.ts';
import { sessionOptions } from './run-options.ts';
import type { Workshop } from './workshop.ts';

/** A calibration whose records are chosen. */
export interface Calibrator {
  balance: Balance | null;
  /** The statistics by which a model is written, each layer in its variant. To be closed. */
  statsFor(variants: readonly Variant[]): StatsSource;
}

/**
 * Chooses calibration records; null for a recipe that needs none. What is computed is kept in the workshop.
 * @throws Fault DATA_REQUIRED when records are needed and there are none
 */
export async function openCalibrator(
  path: string,
  data: CalibrationData | null,
  config: QuantizeConfig,
  progress: Progress,
  { remember }: Pick<Workshop, 'remember'>,
): Promise<Calibrator | null> {
  requireRecords(config, data !== null);
  if (!data || !needsRecords(config)) return null;
  const prepared = prepareModel(path);
  const running = {
    ...sessionOptions(config),
    byLayer: isByLayer(prepared.model, config.calibration.byLayer),
  };
  const balance = await remember('calibrate', () => balanceData(path, data, config.calibration, running));
  const records = chosenRecords(data, balance, config.calibration);
  const sourceOf = sourcesOver(records, path, prepared, config, progress);
  return {
    balance,
    statsFor(variants) {
      const sources = new Map<boolean, StatsSource>();
      const sourceFor = ({ affinity }: Variant): StatsSource => {
        const source = sources.get(affinity) ?? sourceOf(affinity);
        sources.set(affinity, source);
        return source;
      };
      const { sequential } = config.calibration;
      const stepOf = (index: number): string =>
        layerStep(prepared.layers[index].id, variants[index], sequential);
      return {
        statsOf: (index, written) =>
          remember(stepOf(index), () => sourceFor(variants[index]).statsOf(index, written)),
        close: () => sources.forEach((source) => source.close()),
      };
    },
  };
}

/**
 * So many experts are looked at in one graph. ONNX Runtime plans a graph in a time that grows with the square of the
 * values in it, and the statistics of an expert are a few dozen: with more, layers are run one after the other.
 */
const expertsAtOnce = 128;

/**
 * So many bytes of XᵀX, of all layers, are kept for trials to be made from; where there is more, each trial has it
 * made anew.
 */
const gramKept = 2 ** 30;

/**
 * Makes sources of statistics, whose tokens count alike or as much as their routing weight; those of models that are run
 * at once share what a run has given.
 */
function sourcesOver(
  records: readonly DataRecord[],
  path: string,
  { model, layers }: PreparedModel,
  config: QuantizeConfig,
  progress: Progress,
): (affinity: boolean) => StatsSource {
  const { sequential } = config.calibration;
  const batches = [...makeBatches(records, declaredInputs(model))];
  const detail = `${records.length} records`;
  const onStep = (done: number, total: number): void => progress({ stage: 'calibrate', detail, done, total });
  const options = { gram: needsGram(config), onStep, ...sessionOptions(config) };
  const open = (): PreparedModel => prepareModel(path);
  const isKept = !calibratesByLayer(model, config) && (!options.gram || gramBytesOf(layers) <= gramKept);
  if (!isKept) return (affinity) => calibrateByLayer(open, batches, { ...options, affinity, sequential });
  const byLayer = layers.reduce((sum, { experts }) => sum + experts.length, 0) > expertsAtOnce;
  let last: { affinity: boolean; all: Promise<LayerStats[]> } | null = null;
  return (affinity) => ({
    async statsOf(index) {
      // One run's statistics are kept, the others' would take as much memory again.
      if (last?.affinity !== affinity)
        last = { affinity, all: calibrate(open, batches, { ...options, affinity, byLayer }) };
      return (await last.all)[index];
    },
    close: () => {},
  });
}

/** Of XᵀX of all experts' inputs. */
export function gramBytesOf(layers: readonly MoeLayer[]): number {
  return layers.reduce((sum, layer) => sum + ffnExperts(layer).length * expertGramBytes(layer), 0);
}
