import { emitFloat } from '../emit/float-experts.ts';
import type { ModelRecord } from '../moe/model-record.ts';
import { layerRecord, readModelRecord } from '../moe/model-record.ts';
import { prepareModel } from '../moe/prepare-model.ts';
import type { Model } from '../onnx/model.ts';
import { openModel } from '../onnx/open-model.ts';

/** A model to be compared with its reference, and where its layers are. */
export interface OpenQuantized {
  model: Model;
  record: ModelRecord;
  /** The same as it is in the file, without anything that was written out. */
  stored: Model;
  /** False for another tool's model, whose layers were located. */
  isOurs: boolean;
}

/**
 * Opens a model for comparison. One that moeq wrote says itself where its layers are; in any other they are located
 * and their experts written out in float, so that float models (fine-tuned, pruned, or the reference itself) can be
 * compared too.
 * @throws Fault MOE_NONE or MOE_NOT_QUANTIZABLE for another tool's model whose experts cannot be read
 */
export function openQuantized(path: string): OpenQuantized {
  const model = openModel(path);
  const record = readModelRecord(model);
  return { ...(record ? { model, record } : writeOut(path)), stored: model, isOurs: record !== null };
}

function writeOut(path: string): Pick<OpenQuantized, 'model' | 'record'> {
  const { model, layers } = prepareModel(path);
  for (const layer of layers) emitFloat(model, layer);
  const execution = {
    target: 'source form',
    weights: 'as stored',
    activations: 'as stored',
    executed: true,
    provider: 'cpu',
  };
  return {
    model,
    record: { version: '', recipe: {}, execution, layers: layers.map((layer) => layerRecord(layer, null)) },
  };
}
