import type { Piscina } from 'piscina';
import { openModel } from '../../onnx/open-model.ts';
import type { LayerOrder } from '../../pipeline/layer/order-layer.ts';
import type { ExpertOrder } from '../../pipeline/layer/quantize-expert.ts';
import { quantizeOrder } from '../../pipeline/layer/quantize-expert.ts';
import { variantOf } from '../../pipeline/layer/variant.ts';
import type { Workshop } from '../../pipeline/workshop.ts';
import { checkParity } from '../../verify/check-parity.ts';
import { unlessFault } from '../error-record.ts';
import { inLanes } from '../in-lanes.ts';
import type { JobPlan, WorkItem } from '../plan/plan.ts';
import { quantizeItemId } from '../plan/plan.ts';
import { openStore } from '../store/artefact-store.ts';
import { readExpert } from '../store/expert-shelf.ts';
import { rememberIn } from '../store/remember.ts';
import { weightSpool } from '../store/weight-spool.ts';
import { artefactsIn } from '../store/work-folder.ts';
import type { ItemTask } from './item-worker.ts';
import { memoryBudget } from './memory-budget.ts';
import { workerPool } from './worker-pool.ts';

export interface StoredWorkshopOptions {
  plan: JobPlan;
  /** Where the plan is stored, and what the job may take. */
  task: { work: string; plan: string; threads: number; memory: number };
  /** File that takes the weights of layers that are written. */
  spool: string;
  /** Throws when the run is to stop; asked between items. */
  checkpoint: () => void;
}

/** A workshop that keeps results on disk by content key, does not do again what is there, and rounds in threads. */
export interface StoredWorkshop extends Workshop {
  close(): Promise<void>;
}

/** Seconds of rounding from which threads are worth starting: each loads the program anew. */
const parallelFrom = 0.25;

export function openWorkshop(options: StoredWorkshopOptions): StoredWorkshop {
  const { plan, task, spool, checkpoint } = options;
  const store = openStore(artefactsIn(task.work));
  const items = new Map(plan.items.map((item) => [item.id, item]));
  const remember = rememberIn(store, plan);
  const budget = memoryBudget(task.memory);
  const seconds = plan.items.reduce((sum, item) => sum + (item.kind === 'quantize' ? item.seconds : 0), 0);
  const isParallel = task.threads > 1 && seconds > parallelFrom;
  let pool: Piscina | null = null;

  async function quantize(order: ExpertOrder, item: WorkItem, { layer, recipe }: LayerOrder): Promise<void> {
    const release = await budget.reserve(item.memory);
    try {
      checkpoint();
      if (!pool) return store.write(item.key, await quantizeOrder(layer, order, recipe));
      const { work, plan } = task;
      unlessFault<null>(await pool.run({ work, plan, item: item.id, threads: 1 } satisfies ItemTask));
    } finally {
      release();
    }
  }

  return {
    remember(step, compute) {
      checkpoint();
      return remember(step, compute);
    },
    async quantizeExperts(order) {
      const { experts, recipe } = order;
      const itemOf = (id: string): WorkItem => items.get(quantizeItemId(id, variantOf(recipe.config)))!;
      const missing = experts.filter(({ id }) => !store.has(itemOf(id).key));
      if (missing.length > 0 && isParallel) pool ??= workerPool('item-worker', task.threads);
      await inLanes(missing, pool ? task.threads : 1, (expert) => quantize(expert, itemOf(expert.id), order));
      return ({ id }) => readExpert(store, itemOf(id).key, itemOf(id).id);
    },
    settle: weightSpool(spool),
    check: (written, checks) => checkParity(openModel(written), checks, { threads: task.threads }),
    close: async () => pool?.destroy(),
  };
}
