import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { Piscina } from 'piscina';
import type { MadeExpert } from '../../emit/parity-references.ts';
import type { FaultRecord } from '../../fault.ts';
import { temporary } from '../../files/temporary.ts';
import { ffnExperts } from '../../moe/ffn-experts.ts';
import { openModel } from '../../onnx/open-model.ts';
import type { LayerOrder } from '../../pipeline/layer/order-layer.ts';
import { quantizeOrder } from '../../pipeline/layer/quantize-expert.ts';
import type { Workshop } from '../../pipeline/workshop.ts';
import { plainWorkshop } from '../../pipeline/workshop.ts';
import { checkParity } from '../../verify/check-parity.ts';
import { unlessFault } from '../error-record.ts';
import { inLanes } from '../in-lanes.ts';
import { estimateQuantize } from '../plan/estimate.ts';
import { expertShelves } from '../store/expert-shelf.ts';
import { weightSpool } from '../store/weight-spool.ts';
import type { CheckTask, ExpertTask } from './expert-worker.ts';
import { memoryBudget, usableMemory } from './memory-budget.ts';
import { workerPool } from './worker-pool.ts';

/** Seconds of rounding in a layer from which threads are worth starting: each loads the program anew. */
const parallelFrom = 0.5;
/** Bytes of codes, and of written weights, that stay in memory; the others wait in files. */
const keptInMemory = 2 ** 29;

/**
 * A workshop that quantizes the experts of a layer, and checks what was written of them, side by side, in this thread and
 * in others. It is to be closed, and what it made is to be written by then.
 */
export function threadedWorkshop(model: string, threads: number): Workshop & { close(): Promise<void> } {
  const budget = memoryBudget(usableMemory());
  const folder = mkdtempSync(join(tmpdir(), 'moeq-weights-'));
  const removeFolder = temporary(folder);
  const shelve = expertShelves(join(folder, 'experts'), keptInMemory);
  const wherever = oneHere();
  let pool: Piscina | null = null;

  return {
    ...plainWorkshop,
    async quantizeExperts(whole: LayerOrder) {
      const { layer, experts, recipe } = whole;
      const estimates = new Map(
        ffnExperts(layer).map((expert) => [expert.id, estimateQuantize(expert, recipe.config)]),
      );
      const seconds = [...estimates.values()].reduce((sum, estimate) => sum + estimate.seconds, 0);
      const isParallel = threads > 1 && (pool !== null || seconds >= parallelFrom);
      const workers = isParallel ? (pool ??= workerPool('expert-worker', threads - 1)) : null;
      const shelf = shelve(layer);
      await inLanes(experts, workers ? threads : 1, async (order) => {
        const here = (): Promise<MadeExpert> => quantizeOrder(layer, order, recipe);
        if (!workers) return shelf.put(order.id, await here());
        const release = await budget.reserve(estimates.get(order.id)!.memory);
        const task: ExpertTask = { model, layer: layer.id, order, recipe };
        shelf.put(order.id, await wherever(here, () => workers.run(task)).finally(release));
      });
      return shelf.expertOf;
    },
    settle: weightSpool(join(folder, 'weights'), keptInMemory),
    async check(written, checks) {
      const opened = openModel(written);
      if (!pool) return checkParity(opened, checks, { threads });
      const workers = pool;
      await inLanes(checks, threads, async (check) => {
        await wherever<unknown>(
          () => checkParity(opened, [check], { threads: 1 }),
          () => workers.run({ written, check } satisfies CheckTask, { name: 'checkTask' }),
        );
      });
    },
    async close() {
      await pool?.destroy();
      removeFolder();
    },
  };
}

/** Gives what does a task in this thread if it is free, else in another. */
function oneHere(): <T>(here: () => Promise<T>, elsewhere: () => Promise<T | FaultRecord>) => Promise<T> {
  let isBusy = false;
  return async (here, elsewhere) => {
    if (isBusy) return unlessFault(await elsewhere());
    isBusy = true;
    // A moment to hear the others and hand them work: this thread is deaf until it is done with its own.
    await setTimeout(1);
    return here().finally(() => (isBusy = false));
  };
}
