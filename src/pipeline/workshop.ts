import type { MadeExpert } from '../emit/parity-references.ts';
import type { Expert } from '../moe/moe-layer.ts';
import { openModel } from '../onnx/open-model.ts';
import type { Value } from '../onnx/value.ts';
import { checkParity } from '../verify/check-parity.ts';
import type { ParityCheck } from '../verify/parity-checks.ts';
import type { LayerOrder } from './layer/order-layer.ts';
import { quantizeOrder } from './layer/quantize-expert.ts';

/** Gives an expert's quantized weights when they are to be written, and what they must compute. */
export type ExpertOf = (expert: Expert) => MadeExpert;

/**
 * Where the heavy steps of a conversion are done and their results kept. By default here and in memory; a batch
 * spreads them over threads and keeps results on disk. The bytes written are the same in any workshop.
 */
export interface Workshop {
  /** Does a step, named within the conversion, whose result is plain data. */
  remember<T>(step: string, compute: () => Promise<T>): Promise<T>;
  quantizeExperts(order: LayerOrder): Promise<ExpertOf>;
  /** Called now and then with the constants that are new in the graph: they may be moved out of memory. */
  settle(constants: readonly Value[]): void;
  /** Runs the linears of a written model. Throws Fault PARITY. */
  check(written: string, checks: readonly ParityCheck[]): Promise<void>;
}

export const plainWorkshop: Workshop = {
  remember: (_step, compute) => compute(),
  async quantizeExperts({ layer, experts, recipe }) {
    const result = new Map<string, MadeExpert>();
    for (const order of experts) result.set(order.id, await quantizeOrder(layer, order, recipe));
    return ({ id }) => result.get(id)!;
  },
  settle: () => {},
  check: (written, checks) => checkParity(openModel(written), checks),
};
