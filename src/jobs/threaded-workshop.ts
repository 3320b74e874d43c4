import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Piscina } from 'piscina';
import type { ProbedExpert } from '../emit/parity-probes.ts';
import type { FaultRecord } from '../fault.ts';
import { Fault } from '../fault.ts';
import type { LayerOrder } from '../pipeline/order-layer.ts';
import type { ExpertOrder } from '../pipeline/quantize-expert.ts';
import { quantizeOrder } from '../pipeline/quantize-expert.ts';
import type { Workshop } from '../pipeline/workshop.ts';
import { plainWorkshop } from '../pipeline/workshop.ts';
import { estimateQuantize } from './estimate.ts';
import type { ExpertTask } from './expert-worker.ts';
import { inLanes } from './in-lanes.ts';
import { memoryBudget } from './memory-budget.ts';
import { weightSpool } from './weight-spool.ts';
import { workerPool } from './worker-pool.ts';

/** Seconds of rounding in a layer from which threads are worth starting: each loads the program anew. */
const parallelFrom = 0.5;
/** Share of the free memory that experts at a time may take. */
const memoryShare = 0.8;
/** Bytes of written weights that stay in memory; the others wait in a file. */
const keptInMemory = 2 ** 29;

/**
 * A workshop that quantizes the experts of a layer side by side, in this thread and in others. It is to be closed, and
 * what it made is to be written by then.
 */
export function threadedWorkshop(model: string, threads: number): Workshop & { close(): Promise<void> } {
  const budget = memoryBudget(process.availableMemory() * memoryShare);
  const folder = mkdtempSync(join(tmpdir(), 'moeq-weights-'));
  let pool: Piscina | null = null;

  async function elsewhere(task: ExpertTask): Promise<ProbedExpert> {
    const made = (await pool!.run(task)) as ProbedExpert | FaultRecord;
    if ('code' in made) throw Fault.fromRecord(made);
    return made;
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
      pool ??= workerPool('expert-worker', threads - 1);
      const made = new Map<string, ProbedExpert>();
      let isBusy = false;
      const here = async (order: ExpertOrder): Promise<ProbedExpert> => {
        isBusy = true;
        // A moment to hear the others and hand them work: this thread is deaf until it is done with its own.
        await setTimeout(1);
        return quantizeOrder(layer, order, recipe).finally(() => (isBusy = false));
      };
      await inLanes(experts, threads, async (order) => {
        const release = await budget.reserve(estimates.get(order.id)!.memory);
        const task = { model, layer: layer.id, order, recipe };
        made.set(order.id, await (isBusy ? elsewhere(task) : here(order)).finally(release));
      });
      return ({ id }) => made.get(id)!;
    },
    settle: weightSpool(join(folder, 'weights'), keptInMemory),
    async close() {
      await pool?.destroy();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
