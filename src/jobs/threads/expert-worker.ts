import { move, transferableSymbol, valueSymbol } from 'piscina';
import type { MadeExpert } from '../../emit/parity-references.ts';
import type { FaultRecord } from '../../fault.ts';
import type { PreparedModel } from '../../moe/prepare-model.ts';
import { prepareModel } from '../../moe/prepare-model.ts';
import { openModel } from '../../onnx/open-model.ts';
import type { ExpertOrder, Recipe } from '../../pipeline/layer/quantize-expert.ts';
import { quantizeOrder } from '../../pipeline/layer/quantize-expert.ts';
import { checkParity } from '../../verify/check-parity.ts';
import type { ParityCheck } from '../../verify/parity-checks.ts';
import { errorRecord } from '../error-record.ts';

/** One expert for a thread: where its weights are and what to do with them. */
export interface ExpertTask {
  model: string;
  layer: string;
  order: ExpertOrder;
  recipe: Recipe;
}

/** One run of linears of a written model. */
export interface CheckTask {
  written: string;
  check: ParityCheck;
}

/** Of the one model that the threads of a pool work on. */
let prepared: PreparedModel | null = null;

/** Entry of a thread: reads an expert from the model file and hands back its codes, which are moved, not copied. */
export default async function quantizeTask(task: ExpertTask): Promise<MadeExpert | FaultRecord> {
  const { model, layer: id, order, recipe } = task;
  try {
    prepared ??= prepareModel(model);
    const layer = prepared.layers.find((each) => each.id === id)!;
    const expert = await quantizeOrder(layer, order, recipe);
    const { gate, up, down } = expert.weights;
    const linears = [gate, up, down].filter((linear) => linear !== null);
    const codes = linears.map(({ weight }) => weight.codes.buffer);
    return move({
      [transferableSymbol]: codes,
      [valueSymbol]: expert,
    }) as unknown as MadeExpert;
  } catch (error) {
    return errorRecord(error, `${model}, ${order.id}`, model);
  }
}

/** Runs linears of a written model in one thread, as one of several that do. */
export async function checkTask({ written, check }: CheckTask): Promise<FaultRecord | null> {
  try {
    await checkParity(openModel(written), [check], { threads: 1 });
    return null;
  } catch (error) {
    return errorRecord(error, written, written);
  }
}
