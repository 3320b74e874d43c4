import { closeSync, openSync, writeSync } from 'node:fs';
import type { Piscina } from 'piscina';
import type { FaultRecord } from '../fault.ts';
import { Fault } from '../fault.ts';
import { makeTensor } from '../onnx/tensor.ts';
import type { Value } from '../onnx/value.ts';
import { fileSource } from '../tensor/source.ts';
import type { ExpertOrder } from '../pipeline/quantize-expert.ts';
import { quantizeOrder } from '../pipeline/quantize-expert.ts';
import type { LayerOrder, Workshop } from '../pipeline/workshop.ts';
import { openStore } from './artefact-store.ts';
import { readExpertArtefact, writeExpert } from './expert-artefact.ts';
import { memoryBudget } from './memory-budget.ts';
import type { JobPlan, WorkItem } from './plan.ts';
import type { QuantizeTask } from './quantize-worker.ts';
import { workerPool } from './worker-pool.ts';

export interface StoredWorkshopOptions {
  plan: JobPlan;
  /** Folder of the artefact store. */
  artefacts: string;
  /** File that takes the weights of layers that are written. */
  spool: string;
  threads: number;
  /** Bytes that experts at a time may need together. */
  memory: number;
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
  const { plan, artefacts, spool, threads, memory, checkpoint } = options;
  const store = openStore(artefacts);
  const items = new Map(plan.items.map((item) => [item.id, item]));
  const budget = memoryBudget(memory);
  const seconds = plan.items.reduce((sum, item) => sum + (item.kind === 'quantize' ? item.seconds : 0), 0);
  const isParallel = threads > 1 && seconds > parallelFrom;
  let pool: Piscina | null = null;

  async function quantize(order: ExpertOrder, { key, memory }: WorkItem, whole: LayerOrder): Promise<void> {
    const { model, layer, recipe } = whole;
    const release = await budget.reserve(memory);
    try {
      checkpoint();
      if (!pool) return writeExpert(store, key, await quantizeOrder(layer, order, recipe));
      const task: QuantizeTask = { model, layer: layer.id, order, recipe, artefacts, key };
      const fault = (await pool.run(task)) as FaultRecord | null;
      if (fault) throw Fault.fromRecord(fault);
    } finally {
      release();
    }
  }

  return {
    async remember<T>(step: string, compute: () => Promise<T>): Promise<T> {
      checkpoint();
      const item = items.get(step);
      if (!item) return compute();
      const known = store.read(item.key);
      if (known !== undefined) return known as T;
      const result = await compute();
      store.write(item.key, result);
      return result;
    },
    async quantizeExperts(whole) {
      const missing = whole.experts
        .map((order) => ({ order, item: items.get(`quantize:${order.id}`)! }))
        .filter(({ item }) => !store.has(item.key));
      if (missing.length > 0 && isParallel) pool ??= workerPool('quantize-worker', threads);
      await inLanes(missing, pool ? threads : 1, ({ order, item }) => quantize(order, item, whole));
      return ({ id }) => readExpertArtefact(store, items.get(`quantize:${id}`)!.key, id);
    },
    settle: settler(spool),
    close: async () => pool?.destroy(),
  };
}

/** Runs tasks `width` at a time. After a failure none is begun; it is thrown when those under way have ended. */
async function inLanes<T>(
  tasks: readonly T[],
  width: number,
  run: (task: T) => Promise<void>,
): Promise<void> {
  const queue = tasks.values();
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (const task of queue) {
      if (failures.length > 0) return;
      await run(task).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
  if (failures.length > 0) throw failures[0];
}

const settledFrom = 4096;

/** Moves new weights from memory to the end of a file, each once. */
function settler(spool: string): Workshop['settle'] {
  const settled = new WeakSet<Value>();
  let end = 0;
  return (constants) => {
    const file = openSync(spool, end === 0 ? 'w' : 'r+');
    try {
      for (const value of constants) {
        const { source } = value.tensor!;
        if (settled.has(value) || source.byteLength < settledFrom) continue;
        writeAll(file, source.read(), end);
        const bytes = fileSource(spool, end, source.byteLength);
        value.tensor = makeTensor(value.name, source.dtype, source.shape, bytes);
        settled.add(value);
        end += source.byteLength;
      }
    } finally {
      closeSync(file);
    }
  };
}

function writeAll(file: number, bytes: Uint8Array, at: number): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(file, bytes, done, bytes.length - done, at + done);
}
