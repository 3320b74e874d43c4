import type { FaultRecord } from '../fault.ts';
import type { PreparedModel } from '../moe/prepare-model.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { ExpertOrder, Recipe } from '../pipeline/quantize-expert.ts';
import { quantizeOrder } from '../pipeline/quantize-expert.ts';
import { openStore } from './artefact-store.ts';
import { writeExpert } from './expert-artefact.ts';
import { errorRecord } from './error-record.ts';

/** One expert for a thread: where its weights are, what to do with them, and the key to keep the result under. */
export interface QuantizeTask {
  model: string;
  layer: string;
  order: ExpertOrder;
  recipe: Recipe;
  artefacts: string;
  key: string;
}

/** Of the model the last task was about: the tasks of a conversion follow each other. */
let prepared: (PreparedModel & { path: string }) | null = null;

/** Entry of a worker thread. Reads the expert from the model file and leaves the result in the store. */
export default async function quantizeTask(task: QuantizeTask): Promise<FaultRecord | null> {
  const { model: path, layer: layerId, order, recipe, artefacts, key } = task;
  try {
    if (prepared?.path !== path) prepared = { path, ...prepareModel(path) };
    const layer = prepared.layers.find(({ id }) => id === layerId)!;
    writeExpert(openStore(artefacts), key, await quantizeOrder(layer, order, recipe));
    return null;
  } catch (error) {
    return errorRecord(error, `${path}, ${order.id}`, artefacts);
  }
}
