import type { Piscina } from 'piscina';
import type { ProbedExpert } from '../emit/parity-probes.ts';
import type { FaultRecord } from '../fault.ts';
import { Fault } from '../fault.ts';
import type { LayerOrder } from '../pipeline/order-layer.ts';
import type { Workshop } from '../pipeline/workshop.ts';
import { plainWorkshop } from '../pipeline/workshop.ts';
import { estimateQuantize } from './estimate.ts';
import type { ExpertTask } from './expert-worker.ts';
import { inLanes } from './in-lanes.ts';
import { memoryBudget } from './memory-budget.ts';
import { workerPool } from './worker-pool.ts';

/** Seconds of rounding in a layer from which threads are worth starting: each loads the program anew. */
const parallelFrom = 0.5;
/** Share of the free memory that experts at a time may take. */
const memoryShare = 0.8;

/** A workshop in memory that quantizes the experts of a layer side by side. It is to be closed. */
export function threadedWorkshop(model: string, threads: number): Workshop & { close(): Promise<void> } {
  const budget = memoryBudget(process.availableMemory() * memoryShare);
  let pool: Piscina | null = null;

  async function quantize(task: ExpertTask, memory: number): Promise<ProbedExpert> {
    const release = await budget.reserve(memory);
    try {
      const made = (await pool!.run(task)) as ProbedExpert | FaultRecord;
      if ('code' in made) throw Fault.fromRecord(made);
      return made;
    } finally {
      release();
    }
  }

  return {
    ...plainWorkshop,
    async quantizeExperts(whole: LayerOrder) {
      const { layer, experts, recipe } = whole;
      const estimates = new Map(
        layer.experts
          .filter(({ kind }) => kind === 'ffn')
          .map((expert) => [expert.id, estimateQuantize(expert, recipe.config)]),
      );
      const seconds = [...estimates.values()].reduce((sum, estimate) => sum + estimate.seconds, 0);
      if (threads === 1 || (!pool && seconds < parallelFrom)) return plainWorkshop.quantizeExperts(whole);
      pool ??= workerPool('expert-worker', threads);
      const made = new Map<string, ProbedExpert>();
      await inLanes(experts, threads, async (order) => {
        const task = { model, layer: layer.id, order, recipe };
        made.set(order.id, await quantize(task, estimates.get(order.id)!.memory));
      });
      return ({ id }) => made.get(id)!;
    },
    close: async () => pool?.destroy(),
  };
}
