import type { LayerStats } from '../../calibrate/layer-stats.ts';
import type { FaultRecord } from '../../fault.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import { openCalibrator } from '../../pipeline/calibrator.ts';
import type { LayerOrder } from '../../pipeline/layer/order-layer.ts';
import { orderLayer } from '../../pipeline/layer/order-layer.ts';
import { quantizeOrder } from '../../pipeline/layer/quantize-expert.ts';
import { layerStep, settledBy, variantName } from '../../pipeline/layer/variant.ts';
import { openCalibrationData } from '../../pipeline/open-conversion.ts';
import { errorRecord } from '../error-record.ts';
import type { JobPlan, WorkItem } from '../plan/plan.ts';
import type { ArtefactStore } from '../store/artefact-store.ts';
import { damaged } from '../store/artefact-store.ts';
import { rememberIn } from '../store/remember.ts';
import { openWork } from '../store/work-folder.ts';

/** An item that makes an artefact, by name: the plan and all the item needs are found in the work folder. */
export interface ItemTask {
  work: string;
  /** Key of the stored plan. */
  plan: string;
  item: string;
  threads: number;
}

/**
 * Entry of a thread that calibrates, or quantizes an expert, and leaves the result in the store under the item's key.
 * Who calibrates one layer calibrates all: they are run one after the other, or at once.
 */
export default async function runItem(task: ItemTask): Promise<FaultRecord | null> {
  try {
    const { store, plan } = openWork(task.work, task.plan);
    const item = plan.items.find(({ id }) => id === task.item)!;
    if (store.has(item.key)) return null;
    if (item.expert) store.write(item.key, await quantize(item.expert, plan, task, store));
    else await calibrateAll(plan, task, store);
    return null;
  } catch (error) {
    return errorRecord(error, task.item, task.work);
  }
}

async function calibrateAll(plan: JobPlan, { threads }: ItemTask, store: ArtefactStore): Promise<void> {
  const { model: path, config } = plan.job;
  const { model, layers } = prepareModel(path);
  const workshop = { remember: rememberIn(store, plan) };
  const data = openCalibrationData(path, config);
  const calibrator = await openCalibrator(path, data, { ...config, threads }, () => {}, workshop);
  // What the plan asks for, which is less than the config where the model is large; statistics differ by affinity alone.
  const variants = plan.items.flatMap(({ expert }) => expert?.variant ?? []);
  const byAffinity = new Map(variants.map((each) => [each.affinity, each]));
  for (const variant of byAffinity.values()) {
    const source = calibrator!.statsFor(layers.map(() => variant));
    try {
      for (const index of layers.keys()) await source.statsOf(index, model);
    } finally {
      source.close();
    }
  }
}

async function quantize(
  expert: NonNullable<WorkItem['expert']>,
  plan: JobPlan,
  task: ItemTask,
  store: ArtefactStore,
): ReturnType<typeof quantizeOrder> {
  const { layer, recipe, experts } = orderOf(expert, plan, task, store);
  return quantizeOrder(
    layer,
    experts.find(({ id }) => id === expert.id)!,
    recipe,
  );
}

/** Of the plan and the layer the last task was about: tasks of a layer follow each other. */
let opened: { plan: string; prepared: PreparedModel } | null = null;
let ordered: { of: string; order: LayerOrder } | null = null;

function orderOf(
  { layer: id, variant }: NonNullable<WorkItem['expert']>,
  { items, job: { model, config } }: JobPlan,
  task: ItemTask,
  store: ArtefactStore,
): LayerOrder {
  const of = [task.plan, id, variantName(variant)].join();
  if (ordered?.of === of) return ordered.order;
  if (opened?.plan !== task.plan) opened = { plan: task.plan, prepared: prepareModel(model) };
  const layer = opened.prepared.layers.find((each) => each.id === id)!;
  const step = layerStep(id, variant, config.calibration.sequential);
  const calibrated = items.find((item) => item.id === step);
  const stats = calibrated ? (store.read(calibrated.key) as LayerStats | undefined) : null;
  if (stats === undefined) throw damaged(step);
  ordered = { of, order: orderLayer(layer, stats, settledBy(config, variant)) };
  return ordered.order;
}
