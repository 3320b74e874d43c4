import type { FaultRecord } from '../fault.ts';
import type { Calibration } from '../pipeline/calibrate-model.ts';
import { calibrateModel } from '../pipeline/calibrate-model.ts';
import { openCalibrationData } from '../pipeline/convert.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { LayerOrder } from '../pipeline/order-layer.ts';
import { orderLayer } from '../pipeline/order-layer.ts';
import { quantizeOrder } from '../pipeline/quantize-expert.ts';
import { rotationName } from '../pipeline/settle-rotation.ts';
import type { ArtefactStore } from './artefact-store.ts';
import { errorRecord } from './error-record.ts';
import type { JobPlan, WorkItem } from './plan.ts';
import { openWork } from './work-folder.ts';

/** An item that makes an artefact, by name: the plan and all the item needs are found in the work folder. */
export interface ItemTask {
  work: string;
  /** Key of the stored plan. */
  plan: string;
  item: string;
  threads: number;
}

/** Entry of a thread that calibrates, or quantizes an expert, and leaves the result in the store under the item's key. */
export default async function runItem(task: ItemTask): Promise<FaultRecord | null> {
  try {
    const { store, plan } = openWork(task.work, task.plan);
    const item = plan.items.find(({ id }) => id === task.item)!;
    if (!store.has(item.key)) store.write(item.key, await resultOf(item, plan, task, store));
    return null;
  } catch (error) {
    return errorRecord(error, task.item, task.work);
  }
}

async function resultOf(
  { expert }: WorkItem,
  plan: JobPlan,
  task: ItemTask,
  store: ArtefactStore,
): Promise<unknown> {
  const { model, config } = plan.job;
  if (!expert) {
    const data = openCalibrationData(model, config);
    return calibrateModel(model, data, { ...config, threads: task.threads }, () => {});
  }
  const { layer, recipe, experts } = orderOf(expert, plan, task, store);
  return quantizeOrder(
    layer,
    experts.find(({ id }) => id === expert.id)!,
    recipe,
  );
}

/** Of the plan and the layer the last task was about: tasks of a layer follow each other. */
let opened: { plan: string; prepared: PreparedModel; calibration: Calibration | null } | null = null;
let ordered: { of: string; order: LayerOrder } | null = null;

function orderOf(
  { layer: id, rotation }: NonNullable<WorkItem['expert']>,
  { items, job: { model, config } }: JobPlan,
  task: ItemTask,
  store: ArtefactStore,
): LayerOrder {
  const of = [task.plan, id, rotationName(rotation)].join();
  if (ordered?.of === of) return ordered.order;
  if (opened?.plan !== task.plan) {
    const calibrate = items.find(({ kind }) => kind === 'calibrate');
    const calibration = calibrate ? (store.read(calibrate.key) as Calibration) : null;
    opened = { plan: task.plan, prepared: prepareModel(model), calibration };
  }
  const { prepared, calibration } = opened;
  const layer = prepared.layers.find((each) => each.id === id)!;
  const stats = calibration?.stats.find((each) => each.id === id) ?? null;
  ordered = { of, order: orderLayer(layer, stats, { ...config, rotation }) };
  return ordered.order;
}
